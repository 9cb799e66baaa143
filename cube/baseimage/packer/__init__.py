"""Packer as a program: its templates' variables, its output, its seeds."""
