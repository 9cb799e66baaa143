"""What a suite says of a box: all of its checks, by names that are the same on every box."""

from dataclasses import dataclass

from guest.checking.suite_report import SuiteReport


class NotRun(Exception):
    """The suite does not apply to this box."""


class CannotRun(Exception):
    """The suite applies, and cannot be run."""


class Stop(Exception):
    """A check failed on which the rest depends."""


@dataclass(kw_only=True)
class Report(SuiteReport):
    """The results so far; `names` is the whole set of checks, in their order."""

    names: tuple[str, ...]

    def add(self, name: str, status: str, detail: str, **number: float | str | None) -> None:
        """Add a result of a check that the suite has."""
        assert name in self.names, name
        super().add(name, status, detail, **number)

    def require(self, name: str, *, good: bool, detail: str) -> None:
        """Add a check on which the rest depends.

        Raises:
            Stop: it failed.
        """
        self.record(name, good=good, detail=detail)
        if not good:
            raise Stop

    def complete(self) -> None:
        """Skip the checks that an earlier failure prevented; any other without a result fails."""
        failed = self.counts["fail"] > 0
        for name in self.names:
            if name in self.checks:
                continue
            if failed:
                self.skip(name, "not reached: an earlier check failed")
            else:
                self.fail(name, "no result: a defect of this suite")
