"""The command line's tests use the box of the hosts' tests."""

from tests.unit.hosts.conftest import box

__all__ = ["box"]
