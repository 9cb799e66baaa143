"""Which snapshot a box goes back to, and when it must not."""

import hashlib
from collections.abc import Callable

import pytest

from cube.hosts import remote, rollback, volumes
from cube.hosts.rollback import Restored
from cube.hosts.target import Box
from cube.hosts.volumes import Root, Volume
from cube.runtime.errors import MachineError, SnapshotError
from tests.unit.hosts.conftest import Answers, root_of, snapshot

KERNEL = "cube-kernel=6.12.9+deb13-amd64"
RECORD = '{"layers": {"1": {"applied": "2026-01-31T12:00:00Z", "roles": ["common"]}}}'


@pytest.mark.parametrize(("layer", "number"), [("base", 0), ("layer1", 1), ("layer5", 5)])
def test_a_word_names_the_highest_layer_that_stays(layer: str, number: int) -> None:
    assert rollback.number_of(layer) == number


@pytest.mark.parametrize("layer", ["", "2", "layer0", "layer6", "layer22", "image", "layer2\n"])
def test_other_words_name_none(layer: str) -> None:
    with pytest.raises(SnapshotError) as caught:
        rollback.number_of(layer)
    assert "base or layer1" in caught.value.hint


@pytest.mark.parametrize(("number", "layer"), [(0, 1), (1, 5), (2, 5), (4, 5)])
def test_the_lowest_layer_above_counts(number: int, layer: int, box: Box) -> None:
    root = root_of(snapshot(1), snapshot(5))
    assert rollback.choose(box, root, number).layer == layer


def test_a_merge_that_was_begun_goes_on(box: Box) -> None:
    root = root_of(snapshot(1), snapshot(5, merging=True), merging=True)
    assert rollback.choose(box, root, 3).merging


@pytest.mark.parametrize(
    ("root", "number", "message", "hint"),
    [
        (root_of(), 0, "no snapshot from before a layer above 0 (there: none)", "apply --snapshot"),
        (root_of(snapshot(1)), 1, "above 1 (there: cube-before-layer1)", "apply --snapshot"),
        (root_of(snapshot(1), snapshot(5, merging=True)), 0, "layer5 is already being merged",
         "finish that first: cube rollback desk1 layer4"),
        (root_of(snapshot(1, merging=True), snapshot(5)), 1, "layer1 is already being merged",
         "finish that first: cube rollback desk1 base"),
        (root_of(snapshot(5, invalid=True)), 1, "vg/cube-before-layer5 overflowed",
         "lvremove vg/cube-before-layer5"),
        (root_of(snapshot(5, failed=True)), 1, "overflowed", "lvremove"),
    ],
)  # fmt: skip
def test_what_cannot_be_merged_is_refused(
    root: Root, number: int, message: str, hint: str, box: Box
) -> None:
    with pytest.raises(SnapshotError) as caught:
        rollback.choose(box, root, number)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("apart", "kernels", "refused"),
    [
        (False, "6.12.10+deb13-amd64", False),  # /boot goes back with the root
        (True, "6.12.9+deb13-amd64", False),
        (True, "6.12.9+deb13-amd64 6.12.10+deb13-amd64", True),
        (True, "", True),
    ],
)
def test_a_kernel_must_not_lose_its_modules(
    apart: bool,
    kernels: str,
    refused: bool,
    box: Box,
    answering: Callable[[Answers], list[str]],
) -> None:
    listed = "".join(f"/boot/vmlinuz-{name}\n" for name in kernels.split())
    answering({"/boot/vmlinuz-": listed})
    root, chosen = root_of(boot_apart=apart), snapshot(5, tags=(KERNEL,))
    if not refused:
        rollback.refuse_other_kernel(box, root, chosen)
        return
    with pytest.raises(SnapshotError, match="would not boot"):
        rollback.refuse_other_kernel(box, root, chosen)


def test_the_merge_is_begun_before_later_snapshots_go(
    box: Box, answering: Callable[[Answers], list[str]]
) -> None:
    ran = answering({"lv": ""})
    chosen = snapshot(2)
    rollback.schedule(box, root_of(snapshot(1), chosen, snapshot(4), snapshot(5)), chosen)
    assert ran == [
        "lvconvert --yes --merge vg/cube-before-layer2",
        "lvremove --yes vg/cube-before-layer4 vg/cube-before-layer5",
    ]


def test_a_merge_is_begun_only_once(box: Box, answering: Callable[[Answers], list[str]]) -> None:
    ran = answering({})
    chosen = snapshot(5, merging=True)
    rollback.schedule(box, root_of(snapshot(1), chosen), chosen)
    assert ran == []


def show(monkeypatch: pytest.MonkeyPatch, *states: list[Volume]) -> None:
    """Let the box have these snapshots, one list after the other; time flies."""
    left = list(states)
    monkeypatch.setattr(
        volumes,
        "read_root",
        lambda _box: root_of(*(left.pop(0) if len(left) > 1 else left[0])),
    )
    monkeypatch.setattr(rollback, "LOOK_S", 0.0)
    monkeypatch.setattr(rollback, "MERGE_S", 0.2)


def test_a_merge_is_over_when_the_snapshot_is_gone(
    box: Box, monkeypatch: pytest.MonkeyPatch, answering: Callable[[Answers], list[str]]
) -> None:
    ran = answering({"lvchange": ""})
    merging = snapshot(5, merging=True)
    show(monkeypatch, [merging], [merging], [snapshot(1)])
    rollback.wait_for_merge(box, merging)
    assert ran == ["lvchange --poll y vg/root"]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (snapshot(5, merging=True), "is not merged after"),
        (snapshot(5, failed=True), "merging vg/cube-before-layer5 failed"),
        (snapshot(5, invalid=True), "merging vg/cube-before-layer5 failed"),
    ],
)
def test_a_merge_that_does_not_end_is_told(
    state: Volume,
    message: str,
    box: Box,
    monkeypatch: pytest.MonkeyPatch,
    answering: Callable[[Answers], list[str]],
) -> None:
    answering({"lvchange": ""})
    show(monkeypatch, [state])
    with pytest.raises((MachineError, SnapshotError), match=message):
        rollback.wait_for_merge(box, state)


def test_the_root_must_be_the_old_one(box: Box, answering: Callable[[Answers], list[str]]) -> None:
    answering({"layers.json": RECORD})
    digest = hashlib.sha256(RECORD.encode()).hexdigest()
    found = rollback.prove(box, snapshot(5, tags=(f"cube-record={digest}",)))
    done = Restored(box="desk1", snapshot="s", before=5, record=found)
    assert done.summary() == ("desk1 is as it was before layer 5 was applied; it claims layer 1")
    assert done.as_json()["layers"] == [1]
    with pytest.raises(SnapshotError) as caught:
        rollback.prove(box, snapshot(5, tags=("cube-record=other",)))
    assert "its root is not the one of vg/cube-before-layer5: it claims layer 1" in (
        caught.value.message
    )


def test_a_box_that_does_not_come_back_is_told(
    box: Box, monkeypatch: pytest.MonkeyPatch, answering: Callable[[Answers], list[str]]
) -> None:
    the_same = "0f1d2c3b-0000-4000-8000-000000000000"
    answering({"boot_id": f"{the_same}\n"})
    monkeypatch.setattr(remote, "RETRY_S", 0.01)
    with pytest.raises(MachineError) as caught:
        remote.wait_for_boot(box, other_than=the_same, timeout_s=0.1)
    assert caught.value.message.endswith("within 0 s: the old boot still answers")
    remote.wait_for_boot(box, other_than="another", timeout_s=0.1)
