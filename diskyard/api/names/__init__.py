"""Every annotation, label, environment name and derived object name, once."""
