"""A booted copy of the sealed image, judged as the machine that a person gets."""
