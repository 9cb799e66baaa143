"""What findmnt, lvs and vgs print, and the root among it."""

import json
from collections.abc import Callable

import pytest

from cube.hosts import volumes
from cube.hosts.target import Box
from cube.hosts.volumes import RULE, Volume
from cube.runtime.errors import SnapshotError
from tests.unit.hosts.conftest import Answers

FINDMNT = '{"filesystems": [{"source": "/dev/mapper/cube--vg-root", "fstype": "ext4"}]}'
MOUNTS = "/ /etc\n/ /opt\n/ /usr\n/ /var\n/ /var/lib\n/ /boot\n"
#: As LVM 2.03.31 of Debian 13 prints them: a root, two snapshots of which one overflowed, one
#: that is being merged, and a volume of somebody else.
ROWS = [
    {"lv_name": "data", "lv_dm_path": "/dev/mapper/cube--vg-data"},
    {"lv_name": "cube-before-layer5", "origin": "root", "snap_percent": "0.29",
     "lv_tags": "cube-kernel=6.12.117+deb13-amd64,cube-record=71b8"},
    {"lv_name": "cube-before-layer2", "origin": "root", "snap_percent": "100.00",
     "lv_snapshot_invalid": "snapshot invalid"},
    {"lv_name": "[cube-before-layer1]", "origin": "root", "lv_merging": "merging",
     "lv_merge_failed": "merge failed"},
    {"lv_name": "mine", "origin": "root"},
    {"lv_name": "cube-before-layer3", "origin": "data"},
    {"lv_name": "root", "lv_dm_path": "/dev/mapper/cube--vg-root", "lv_size": "4294967296",
     "lv_snapshot_invalid": "unknown", "lv_merging": "merging"},
]  # fmt: skip
EMPTY = dict.fromkeys(volumes.FIELDS.split(","), "")


def lvs(rows: list[dict[str, str]]) -> str:
    usual = {**EMPTY, "vg_name": "cube-vg", "lv_size": "855638016", "lv_layout": "linear"}
    return json.dumps({"report": [{"lv": [{**usual, **row} for row in rows]}], "log": []})


def vgs(free: str = "1291845632") -> str:
    row = {"vg_name": "cube-vg", "vg_free": free, "vg_extent_size": "4194304"}
    return json.dumps({"report": [{"vg": [row]}], "log": []})


def answer(*parts: str) -> str:
    return f"{RULE}\n".join(parts)


GOOD = answer(FINDMNT, MOUNTS, lvs(ROWS), vgs())


def test_the_root_is_found_with_its_room_and_our_snapshots(
    box: Box, answering: Callable[[Answers], list[str]]
) -> None:
    ran = answering({"findmnt": GOOD})
    root = volumes.read_root(box)
    assert len(ran) == 1
    assert (root.volume.path, root.volume.size_bytes) == ("cube-vg/root", 4 * 1024**3)
    assert (root.free_bytes, root.extent_bytes, root.boot_apart) == (1291845632, 4194304, False)
    assert root.volume.merging
    assert [one.layer for one in root.snapshots] == [1, 2, 5]


def test_a_snapshot_tells_its_state_and_what_was_noted() -> None:
    found = {one.name: one for one in volumes.parse_volumes(lvs(ROWS))}
    merged, lost, good = (found[f"cube-before-layer{layer}"] for layer in (1, 2, 5))
    assert (merged.merging, merged.failed, merged.invalid) == (True, True, False)
    assert (lost.invalid, lost.percent) == (True, "100.00")
    assert (good.kernels, good.record) == ({"6.12.117+deb13-amd64"}, "71b8")
    assert (lost.kernels, lost.record) == (set(), "")
    assert not found["root"].invalid  # "unknown" is said of what is no snapshot


def test_a_boot_of_its_own_is_noted(box: Box, answering: Callable[[Answers], list[str]]) -> None:
    mounts = MOUNTS.replace("/ /boot", "/boot /boot")
    answering({"findmnt": answer(FINDMNT, mounts, lvs(ROWS), vgs())})
    assert volumes.read_root(box).boot_apart


def layouts(layout: str) -> str:
    return lvs([{**row, "lv_layout": layout} for row in ROWS])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (answer(FINDMNT.replace("mapper/cube--vg-root", "sda2"), MOUNTS, lvs(ROWS), vgs()),
         "desk1: its root is /dev/sda2, not a logical volume"),
        (answer(FINDMNT, MOUNTS, ""), "its root is /dev/mapper/cube--vg-root, not a logical"),
        (answer(FINDMNT, MOUNTS.replace("/ /var\n", "/var /var\n"), lvs(ROWS), vgs()),
         "/var is not part of the root"),
        (answer(FINDMNT.replace("root", "crypt"), MOUNTS, lvs(ROWS), vgs()),
         "no logical volume of LVM is /dev/mapper/cube--vg-crypt"),
        (answer(FINDMNT, MOUNTS, layouts("thin,sparse"), vgs()), "of the kind sparse, thin"),
        (answer(FINDMNT, MOUNTS, layouts("cache"), vgs()), "of the kind cache"),
        (answer("", MOUNTS, lvs(ROWS), vgs()), "findmnt names no device"),
        (answer('{"filesystems": []}', MOUNTS, lvs(ROWS), vgs()), "findmnt names no device"),
        (answer(FINDMNT, MOUNTS, "WARNING: x", vgs()), "LVM's report cannot be read"),
        (answer(FINDMNT, MOUNTS, '{"report": []}', vgs()), "LVM's report cannot be read"),
        (answer(FINDMNT, MOUNTS, lvs(ROWS), "{}"), "LVM's report cannot be read ('report')"),
    ],
)  # fmt: skip
def test_a_box_without_such_a_root_is_refused(
    text: str, message: str, box: Box, answering: Callable[[Answers], list[str]]
) -> None:
    answering({"findmnt": text})
    with pytest.raises(SnapshotError) as caught:
        volumes.read_root(box)
    assert message in caught.value.message


def test_a_report_without_a_field_is_refused() -> None:
    row = {name: "" for name in EMPTY if name != "origin"}
    text = json.dumps({"report": [{"lv": [row]}]})
    with pytest.raises(SnapshotError, match="origin"):
        volumes.parse_volumes(text)


@pytest.mark.parametrize("layout", ["linear", "striped", "raid,raid1", "mirror"])
def test_common_layouts_are_accepted(layout: str) -> None:
    found = volumes.find_root(
        "/dev/mapper/cube--vg-root",
        volumes.parse_volumes(layouts(layout)),
        volumes.parse_groups(vgs()),
        boot_apart=False,
    )
    assert found.volume.name == "root"


@pytest.mark.parametrize(
    ("name", "ours"),
    [("cube-before-layer1", True), ("cube-before-layer", False), ("cube-before-layerx", False),
     ("root", False)],
)  # fmt: skip
def test_ours_are_known_by_name(name: str, ours: bool) -> None:
    assert volumes.is_ours(name) == ours


def test_a_volume_has_a_path() -> None:
    volume = Volume(group="vg", name="cube-before-layer3", node="", size_bytes=0)
    assert (volume.path, volume.layer) == ("vg/cube-before-layer3", 3)
