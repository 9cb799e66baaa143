"""A machine whose GPUs are made up: every result that is seen through it is `simulated`."""
