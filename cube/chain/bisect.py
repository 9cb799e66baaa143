"""Finding the link at which a command on the guest starts to fail."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cube.chain.bisect_probe import UNTESTABLE, Probe, Verdict
from cube.chain.store.link import Link
from cube.runtime import log
from cube.runtime.errors import ChainError, CubeError

#: Tries a command on a link.
Try = Callable[[Link], Probe]


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where a command starts to fail.

    Args:
        good: the highest link on which it is known to succeed.
        suspects: the links above, of which one is the first bad one, lowest first; one link
            alone unless some could not be tested.
        probes: what was tried, in order.
    """

    good: Link
    suspects: tuple[Link, ...]
    probes: tuple[Probe, ...]

    def as_json(self) -> dict[str, object]:
        """Return it for a program."""
        suspects = [
            {"name": link.name, "key": link.key, "roles": roles(link)} for link in self.suspects
        ]
        return {
            "first_bad": suspects[0] if len(suspects) == 1 else None,
            "suspects": suspects,
            "last_good": {"name": self.good.name, "key": self.good.key},
            "probes": [probe.as_json() for probe in self.probes],
        }

    def summary(self) -> str:
        """Return it for a person, with what to do next."""
        told = [f"{link.name} {link.short} ({', '.join(roles(link))})" for link in self.suspects]
        lines = [f"the first bad layer is {told[0]}"]
        if len(told) > 1:
            lines = ["the first bad layer is one of these, of which only the last could be tested:"]
            lines += [f"  {words}" for words in told]
        name = self.suspects[-1].name
        files = [f"deploy/roles/{role}.py" for link in self.suspects for role in roles(link)]
        return "\n".join(
            [
                *lines,
                f"the last good one is {self.good.name} {self.good.short}",
                f"  look at it where it fails:  cube up --at {name}, cube ssh, cube down",
                f"  correct it, then:           cube build     ({' '.join(files)})",
                f"  or go back:                 cube rollback {self.good.name}",
            ]
        )


def roles(link: Link) -> list[str]:
    """Return the roles that made a layer."""
    return [str(role) for role in link.ingredients["data"].get(f"{link.name}_roles", [])]


def find(links: Sequence[Link], attempt: Try) -> Found:
    """Search by halves: first the highest, which must be bad, and the lowest, which must be good.

    Args:
        links: with disks, lowest first.
        attempt: tries the command on one.

    Raises:
        ChainError: there are no two links to search between.
        CubeError: the command succeeds on the highest, or not on the lowest.
    """
    if len(links) < 2:  # noqa: PLR2004 (a good and a bad one)
        raise ChainError("there are no layers to search", hint="make them first: cube build")
    probes: list[Probe] = []

    def verdict_on(at: int) -> Verdict:
        with log.step(f"Trying {links[at].name} {links[at].short}"):
            probes.append(attempt(links[at]))
        log.info(probes[-1].text, **probes[-1].as_json())
        return probes[-1].verdict

    expect(links[-1], "bad", verdict_on(len(links) - 1))
    expect(links[0], "good", verdict_on(0))
    good, bad = halve(len(links), verdict_on)
    return Found(good=links[good], suspects=tuple(links[good + 1 : bad + 1]), probes=tuple(probes))


def halve(count: int, verdict_on: Callable[[int], Verdict]) -> tuple[int, int]:
    """Narrow down between the first, known to be good, and the last, known to be bad.

    Returns:
        The highest that is good and the lowest that is bad; only such lie between as cannot be
        tested.
    """
    good, bad, untestable = 0, count - 1, set[int]()
    while left := [at for at in range(good + 1, bad) if at not in untestable]:
        at = left[len(left) // 2]
        match verdict_on(at):
            case "good":
                good = at
            case "bad":
                bad = at
            case "untestable":
                untestable.add(at)
    return good, bad


def expect(link: Link, wanted: Verdict, found: Verdict) -> None:
    """Refuse to search where there is nothing to find.

    Raises:
        CubeError: an end of the chain is not what it must be.
    """
    if found == wanted:
        return
    if found == "untestable":
        raise CubeError(
            f"the command cannot tell at {link.name}, an end of the chain",
            hint=f"it must end with another code than {UNTESTABLE} there",
        )
    if wanted == "bad":
        raise CubeError(
            f"it succeeds everywhere: also on {link.name}, the head",
            hint="give a command that fails on the head; cube up, cube ssh to find one",
        )
    raise CubeError(
        f"it fails already at {link.name}, where no layer has been applied",
        hint="give a command that succeeds there, such as: ! command -v TOOL || TOOL",
    )
