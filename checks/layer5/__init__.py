"""Layer 5: monitoring and validation."""
