"""A bare Debian: made by mmdebstrap, without an installer."""
