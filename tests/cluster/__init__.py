"""A real Kubernetes API server beside ours: built from Go modules, started by fixtures, compared field by field."""
