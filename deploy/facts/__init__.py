"""What is read from a host, one small command each."""
