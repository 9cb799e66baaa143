"""The targets of the project for speed, and whether a run met them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from bench.peers.results import FIRST, NOOP, REBUILD, Results


@dataclass(frozen=True, kw_only=True)
class Target:
    """One target: a ratio of two medians in one run.

    Args:
        what: in words.
        case: of the runs.
        over: the variant whose time is above the line.
        under: the variant whose time is below it.
        bound: the ratio's bound.
        side: whether the ratio must be at least or at most that.
        delay_ms: of the round trip.
        limit: what bounds the ratio; told where the target is missed.
    """

    what: str
    case: str
    over: str
    under: str
    bound: float
    side: Literal["at least", "at most"]
    delay_ms: int = 0
    limit: str = ""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A target, and what was measured; without a ratio, nothing was."""

    target: Target
    ratio: float | None

    @property
    def met(self) -> bool | None:
        """Whether it was met; None when nothing was measured."""
        if self.ratio is None:
            return None
        if self.target.side == "at least":
            return self.ratio >= self.target.bound
        return self.ratio <= self.target.bound

    @property
    def word(self) -> str:
        """Say it in a word or two."""
        return {True: "met", False: "**missed**", None: "not measured"}[self.met]


#: What no connection shortens.
START = "our own limit in the table above: the start of Python and pyinfra"
#: What both tools wait for.
DPKG = "apt and dpkg, the same for both: what they take alone is a line of the table above"
#: What the peer's figure leaves out, and ours has.
PROOF = (
    "more than half of ours proves the link: it is applied a second time, restarted and judged; the"
    " peer's time has neither that nor layer 5"
)
#: Source: the project's speed targets, docs/bench.md.
TARGETS = (
    Target(what="no-op, Ansible with pipelining against us", case=NOOP, over="pipelining",
           under="cube", bound=12, side="at least", limit=START),
    Target(what="the same at 10 ms", case=NOOP, over="pipelining", under="cube", bound=18,
           side="at least", delay_ms=10, limit=START),
    Target(what="no-op, Ansible with mitogen against us", case=NOOP, over="mitogen", under="cube",
           bound=5, side="at least", limit=START),
    Target(what="no-op, us against one script that checks everything", case=NOOP, over="cube",
           under="script", bound=5, side="at most", limit=START),
    Target(what="first application, us against Ansible with mitogen", case=FIRST, over="cube",
           under="mitogen", bound=0.6, side="at most", limit=DPKG),
    Target(what="rebuild after a change in layer 5, us against Packer + Ansible", case=REBUILD,
           over="cube", under="packer-run", bound=0.1, side="at most", limit=PROOF),
    Target(what="the same against Packer + Ansible put together, at native speed", case=REBUILD,
           over="cube", under="packer-ansible", bound=0.1, side="at most", limit=PROOF),
)  # fmt: skip


def judge(results: Results, targets: Iterable[Target] = TARGETS) -> list[Verdict]:
    """Compare a run with the targets."""
    return [
        Verdict(target=one, ratio=results.ratio(one.case, one.over, one.under, one.delay_ms))
        for one in targets
    ]
