"""Layer 1: the operating system as every cube has it."""
