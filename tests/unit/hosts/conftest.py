"""A box that answers scripts from a table, at the command runner."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pytest

from cube.hosts import remote
from cube.hosts.target import Box
from cube.hosts.volumes import Root, Volume
from cube.machines import Endpoint
from cube.runtime.errors import CommandError
from cube.runtime.run import Completed

ENDPOINT = Endpoint(
    host="192.0.2.10",
    port=22,
    user="anna",
    key_file=Path("/k"),
    known_hosts=Path("/h"),
    alias="192.0.2.10",
)
GIB = 1024**3
EXTENT = 4 * 1024**2

Answers = Mapping[str, str]


@pytest.fixture
def box() -> Box:
    return Box(name="desk1", endpoint=ENDPOINT)


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers], list[str]]:
    """Answer each script by the first key that is part of it; others fail. Scripts are noted."""

    def install(answers: Answers) -> list[str]:
        ran: list[str] = []

        def execute(
            _box: Box, script: str, *, accept: Collection[int] = (0,), timeout_s: float = 1
        ) -> Completed:
            ran.append(script)
            for part, text in answers.items():
                if part in script:
                    return Completed(returncode=0, stdout=text, stderr="")
            raise CommandError(f"not expected: {script}")

        monkeypatch.setattr(remote, "execute", execute)
        return ran

    return install


def snapshot(layer: int, **more: object) -> Volume:
    """Return a snapshot of ours."""
    known: dict[str, object] = {
        "group": "vg",
        "name": f"cube-before-layer{layer}",
        "node": f"/dev/mapper/vg-b{layer}",
        "size_bytes": GIB,
        "layout": frozenset({"linear"}),
        "origin": "root",
        "percent": "1.0",
    }
    return Volume(**{**known, **more})  # type: ignore[arg-type]


def root_of(*snapshots: Volume, free: int = 4 * GIB, **more: object) -> Root:
    """Return a root of 10 GiB with room beside it."""
    volume = Volume(
        group="vg",
        name="root",
        node="/dev/mapper/vg-root",
        size_bytes=10 * GIB,
        layout=frozenset({"linear"}),
        merging=bool(more.pop("merging", False)),
    )
    return Root(
        volume=volume,
        free_bytes=free,
        extent_bytes=EXTENT,
        snapshots=snapshots,
        boot_apart=bool(more.pop("boot_apart", False)),
    )
