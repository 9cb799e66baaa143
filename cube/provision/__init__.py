"""Runs of pyinfra and pytest against a machine, and what they report."""
