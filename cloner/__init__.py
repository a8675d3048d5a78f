"""Serves a volume to the one that clones it: its disk as extents, or its files as a tar stream."""
