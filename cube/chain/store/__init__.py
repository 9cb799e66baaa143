"""The store of links on disk."""
