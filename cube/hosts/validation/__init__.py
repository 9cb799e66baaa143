"""The suites of stage 4: programs on a box that prove it, run from here over SSH."""
