"""A change in layer 5, and a build from nothing: our chain, against Packer + Ansible.

Packer cannot resume, so whatever was changed, its image is built from nothing and every role is
applied. It is measured twice. Once by a run of Packer with its own Ansible provisioner
(`bench.peers.packer`); without KVM, that is under emulation. And once put together of two parts
that are not: our own stage 2 (mmdebstrap and Packer) with an empty store, and the first application
of layer 1 by Ansible with pipelining to a container. Both are less than the peer's work: layer 5 is
left out. Our own time has all of ours: each layer is applied twice, and judged after a restart.
"""

from collections.abc import Iterator
from pathlib import Path

from bench import project
from bench.peers import box, packer, playbook
from bench.peers.application import SOURCE, Workshop
from bench.peers.playbook import OS
from bench.peers.report import PACKER, PUT_TOGETHER
from bench.peers.results import FIRST, FULL, REBUILD, Results
from bench.peers.variants import BY_NAME
from cube.chain.key.keys import link_name
from cube.runtime import log
from cube.runtime.errors import CubeError

#: The variant whose first application is taken.
ANSIBLE = "pipelining"


def measure(results: Results, build: Path | None, shop: Workshop, cache: Path, rounds: int) -> None:
    """Measure both, if there is a build to go on from.

    Args:
        results: get the figures.
        build: build.dir of an earlier build.
        shop: what applications need.
        cache: folder of the cache of packages.
        rounds: of our rebuild; the others take minutes, and are run once.

    Raises:
        CubeError: a build failed, or reused something else than it should.
    """
    applied = results.of(FIRST, ANSIBLE)
    if build is None or applied is None:
        reason = "needs --build, a build to go on from, and the first application by pipelining"
        results.missing[REBUILD] = reason
        return
    for seconds in ours(build, shop.folder / "ours", rounds):
        results.add(REBUILD, "cube", 0, seconds)
    base, rest = anew(shop.folder / "anew")
    results.add(FULL, "cube", 0, base + rest)
    for case in (REBUILD, FULL):  # Packer cannot resume
        results.add(case, PUT_TOGETHER, 0, base + applied.median)
    try:
        seconds = theirs(shop, cache)
    except CubeError as error:
        results.missing[REBUILD] = f"by Packer with its Ansible provisioner: {error.message}"
        return
    for case in (REBUILD, FULL):
        results.add(case, PACKER, 0, seconds)


def theirs(shop: Workshop, cache: Path) -> float:
    """Return the seconds of Packer with its own Ansible provisioner.

    Raises:
        CubeError: it failed, or there is no such provisioner here.
    """
    place = shop.folder / "theirs"
    place.mkdir()
    with box.cached(cache) as port:
        served = port, box.wheels(cache, playbook.DEPLOY / "files/python/tools.txt")
        return packer.measure(BY_NAME[ANSIBLE], shop, served, place)


def ours(build: Path, folder: Path, rounds: int) -> Iterator[float]:
    """Yield the seconds of `cube build` to the last link, each after a change in layer 5.

    Raises:
        CubeError: it did not reuse just the links below.
    """
    copied = project.copy(folder, SOURCE / "cube.toml", image=OS)
    copied.take_over(build)
    last = link_name(copied.applied()[-1])
    with log.step("Making the layers that it lacks"):
        copied.build(to=last)
    reused = project.below(copied.applied(), 5)
    for _ in range(rounds):
        copied.touch(5)
        with log.step("Rebuilding after a change in layer 5"):
            built = copied.build(to=last)
        if built.reused != reused:
            raise CubeError(f"the rebuild reused {built.reused}, expected was {reused}")
        yield built.seconds


def anew(folder: Path) -> tuple[float, float]:
    """Return the seconds of stage 2 with an empty store, and those of all layers upon it."""
    copied = project.copy(folder, SOURCE / "cube.toml", image=OS)
    last = link_name(copied.spec.layers.enabled[-1])
    with log.step("Building the bare OS anew"):
        base = copied.build(to="base").seconds
    with log.step("Building all layers anew"):
        return base, copied.build(to=last).seconds
