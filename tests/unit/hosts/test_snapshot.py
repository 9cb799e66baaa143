"""Room for snapshots, taking them, and watching them."""

import hashlib
from collections.abc import Callable

import pytest

from cube.hosts import snapshot as snapshots
from cube.hosts import volumes
from cube.hosts.snapshot import Plan
from cube.hosts.target import Box
from cube.hosts.volumes import Root
from cube.runtime import log
from cube.runtime.errors import SnapshotError
from cube.runtime.log import Event
from tests.unit.hosts.conftest import EXTENT, GIB, Answers, root_of, snapshot

MIB = 1024**2


@pytest.mark.parametrize(
    ("layers", "free", "size_mib", "each"),
    [
        ([5], 8 * GIB, 0, 2 * GIB),  # a fifth of the root
        ([1, 5], 2 * GIB, 0, GIB),  # as far as there is room
        ([1, 2, 3, 4, 5], 2 * GIB, 0, 408 * MIB),  # in whole extents
        ([5], 8 * GIB, 1, 4 * MIB),  # at least what is asked for
        ([1, 5], 8 * GIB, 4096, 4 * GIB),
    ],
)
def test_room_is_shared(layers: list[int], free: int, size_mib: int, each: int) -> None:
    extents = snapshots.share_room(root_of(free=free), layers, size_mib=size_mib)
    assert extents * EXTENT == each


def test_snapshots_that_are_replaced_make_room() -> None:
    root = root_of(snapshot(1), snapshot(5), free=0)
    assert snapshots.share_room(root, [5]) * EXTENT == GIB
    assert snapshots.share_room(root, [1]) * EXTENT == 2 * GIB


@pytest.mark.parametrize(
    ("layers", "free", "size_mib", "message"),
    [
        ([5], 0, 0, "has 0 bytes free: 1 snapshots of 256 MiB do not fit"),
        ([1, 5], 500 * MIB, 0, "has 500 MiB free: 2 snapshots of 256 MiB do not fit"),
        ([5], GIB, 1025, "has 1.0 GiB free: 1 snapshots of 1.0 GiB do not fit"),
    ],
)
def test_no_room_is_told(layers: list[int], free: int, size_mib: int, message: str) -> None:
    with pytest.raises(SnapshotError) as caught:
        snapshots.share_room(root_of(free=free), layers, size_mib=size_mib)
    assert caught.value.message == f"the volume group vg {message}"
    assert "nothing was changed" in caught.value.hint


def show(monkeypatch: pytest.MonkeyPatch, *roots: Root) -> None:
    """Let the box have these roots, one after the other."""
    left = list(roots)
    monkeypatch.setattr(
        volumes, "read_root", lambda _box: left.pop(0) if len(left) > 1 else left[0]
    )


def test_nothing_is_planned_while_a_rollback_is_under_way(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(monkeypatch, root_of(merging=True))
    with pytest.raises(SnapshotError, match="is being merged into vg/root"):
        snapshots.plan(box, [5])


def test_a_snapshot_notes_what_a_rollback_must_know(
    box: Box, monkeypatch: pytest.MonkeyPatch, answering: Callable[[Answers], list[str]]
) -> None:
    show(monkeypatch, root_of(), root_of(snapshot(5)))
    ran = answering(
        {
            "ls /lib/modules": "6.12.9+deb13-amd64\n6.8~odd\n",
            "layers.json": "{}",
            "lvcreate": "",
            "cube-grow-root": "",
        }
    )
    taken = snapshots.take(box, Plan(root=root_of(), extents=50), 5)
    assert taken.name == "cube-before-layer5"
    digest = hashlib.sha256(b"{}").hexdigest()
    assert ran[-1] == (
        f"lvcreate --yes --snapshot --name cube-before-layer5 --extents 50"
        f" --addtag cube-record={digest} --addtag cube-kernel=6.12.9+deb13-amd64 vg/root"
    )
    assert [script for script in ran if "ExecCondition=/bin/false" in script]


def test_older_snapshots_of_this_layer_and_above_are_replaced(
    box: Box, monkeypatch: pytest.MonkeyPatch, answering: Callable[[Answers], list[str]]
) -> None:
    show(monkeypatch, root_of(snapshot(1), snapshot(2), snapshot(5)), root_of(snapshot(2)))
    ran = answering({"lv": "", "ls /lib/modules": "", "layers.json": "", "cube-grow-root": ""})
    snapshots.take(box, Plan(root=root_of(), extents=50), 2)
    assert ran[0] == "lvremove --yes vg/cube-before-layer2 vg/cube-before-layer5"


def test_an_overflow_is_told(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, root_of(snapshot(1, invalid=True), snapshot(5, invalid=True)))
    heard: list[Event] = []
    with log.listening(heard.append):
        assert snapshots.warn_of_overflow(box, [snapshot(5)]) == ["cube-before-layer5"]
    (event,) = heard
    assert event.kind == "warning"
    assert "vg/cube-before-layer5 overflowed" in event.text
