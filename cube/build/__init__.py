"""The build: five stages in order, each a gate."""
