"""Our site against the same work by others, side by side on one machine."""
