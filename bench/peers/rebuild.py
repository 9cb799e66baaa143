"""A change in layer 5: our chain, against building the image anew as Packer + Ansible must.

Packer cannot resume, so whatever was changed, its image is built from nothing and every role is
applied. What stands for it here is measured in two parts: our own stage 2 (mmdebstrap and Packer)
with an empty store, and the first application of layer 1 by Ansible with pipelining. That is less
than the peer's work: layer 5 is left out, and Ansible runs at native speed, not under emulation.
"""

from pathlib import Path

from bench import project
from bench.peers.application import SOURCE
from bench.peers.playbook import OS
from bench.peers.report import PACKER
from bench.peers.results import FIRST, REBUILD, Results
from cube import log
from cube.chain.keys import link_name
from cube.errors import CubeError

#: The variant whose first application is taken.
ANSIBLE = "pipelining"


def measure(results: Results, build: Path | None, folder: Path) -> None:
    """Measure both, if there is a build to go on from.

    Raises:
        CubeError: a build failed, or reused something else than it should.
    """
    applied = results.of(FIRST, ANSIBLE)
    if build is None or applied is None:
        reason = "needs --build, a build to go on from, and the first application by pipelining"
        results.missing["rebuild after a change in layer 5"] = reason
        return
    results.add(REBUILD, "cube", 0, ours(build, folder / "ours"))
    results.add(REBUILD, PACKER, 0, anew(folder / "anew") + applied.median)


def ours(build: Path, folder: Path) -> float:
    """Return the seconds of `cube build` to the last link after a change in layer 5.

    Raises:
        CubeError: it did not reuse just the links below.
    """
    copied = project.copy(folder, SOURCE / "cube.toml", image=OS)
    copied.take_over(build)
    last = link_name(copied.applied()[-1])
    with log.step("Making the layers that it lacks"):
        copied.build(to=last)
    reused = project.below(copied.applied(), 5)
    copied.touch(5)
    with log.step("Rebuilding after a change in layer 5"):
        built = copied.build(to=last)
    if built.reused != reused:
        raise CubeError(f"the rebuild reused {built.reused}, expected was {reused}")
    return built.seconds


def anew(folder: Path) -> float:
    """Return the seconds of stage 2 with an empty store."""
    copied = project.copy(folder, SOURCE / "cube.toml", image=OS)
    with log.step("Building the bare OS anew"):
        return copied.build(to="base").seconds
