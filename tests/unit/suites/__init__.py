"""Tests of cube.suites and cube.passport."""
