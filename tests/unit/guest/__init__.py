"""Tests of the programs that run on the box."""
