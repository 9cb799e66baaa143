"""Tests of cube.hosts.validation and cube.hosts.passport."""
