"""Cleaning of a mounted root, on small trees."""
