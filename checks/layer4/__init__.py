"""Layer 4: the frameworks."""
