"""Copies a volume, as extents, to another. Nothing is copied yet: see CHANGELOG.md."""
