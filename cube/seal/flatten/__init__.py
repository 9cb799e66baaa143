"""A disk with its whole chain as one compressed qcow2 file."""
