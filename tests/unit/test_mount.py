import json
from pathlib import Path

import pytest

from cube import cell, export, lvm, mount, partition
from cube.partition import Partition


def make_part(start: int, fs_type: str, label: str = "") -> Partition:
    tags = {"TYPE": fs_type, "LABEL": label, "UUID": f"uuid-{start}"}
    return Partition(start=start, size=1, uuid=f"part-{start}", tags=tags)


ESP = make_part(1, "vfat", "ESP")


@pytest.mark.parametrize(
    ("found", "start"),
    [
        ([ESP, make_part(2, "ext4")], 2),
        ([ESP, make_part(2, "xfs")], 2),
        ([make_part(2, "ext4"), make_part(3, "ext4")], 3),
        ([make_part(2, "ext4", "cube-root"), make_part(3, "ext4")], 2),
        ([make_part(2, "ext4"), make_part(3, "swap")], 2),
        ([ESP], None),
        ([], None),
    ],
)
def test_root_is_the_labelled_partition_or_the_last(
    found: list[Partition], start: int | None
) -> None:
    chosen = partition.choose_root(found)
    assert (chosen.start if chosen else None) == start


@pytest.mark.parametrize(
    ("source", "matches"),
    [
        ("LABEL=ESP", True),
        ("UUID=uuid-1", True),
        ("UUID=UUID-1", True),
        ("PARTUUID=part-1", True),
        ('LABEL="ESP"', True),
        ("LABEL=other", False),
        ("/dev/sda1", False),
        ("LABEL=", False),
    ],
)
def test_what_fstab_means(source: str, matches: bool) -> None:
    assert ESP.matches(source) is matches


def test_partitions_are_in_bytes() -> None:
    table = {"sectorsize": 512, "partitions": [{"start": 2048, "size": 8, "uuid": "U"}]}
    assert partition.parse_partitions(json.dumps({"partitiontable": table})) == [
        (2048 * 512, 8 * 512, "U")
    ]


def test_fstab_is_read_parents_first() -> None:
    text = "# comment\nLABEL=ESP /boot/efi vfat\n\nLABEL=boot /boot ext4\nLABEL=root / ext4\nbad\n"
    assert partition.parse_fstab(text) == [
        ("LABEL=root", "/"),
        ("LABEL=boot", "/boot"),
        ("LABEL=ESP", "/boot/efi"),
    ]


def test_tags_may_hold_an_equals_sign() -> None:
    assert partition.parse_tags("TYPE=ext4\nLABEL=a=b\nnonsense\n") == {
        "TYPE": "ext4",
        "LABEL": "a=b",
    }


@pytest.mark.parametrize(
    ("fs_type", "options"),
    [("ext4", "ro,noload"), ("xfs", "ro,norecovery"), ("vfat", "ro")],
)
def test_reading_never_replays_a_journal(fs_type: str, options: str) -> None:
    argv = mount.mount_args("/dev/loop0", Path("/root"), fs_type, writable=False)
    assert argv == ["mount", "-t", fs_type, "-o", options, "/dev/loop0", "/root"]


def test_reading_opens_the_file_itself_read_only() -> None:
    argv = export.daemon_args(Path("/d.qcow2"), Path("/raw"), writable=False)
    documents = [json.loads(word) for word in argv if word.startswith("{")]
    assert [d.get("read-only", not d.get("writable")) for d in documents] == [True, True, True]


def test_file_name_with_a_comma_is_no_option() -> None:
    argv = export.daemon_args(Path("/a,b.qcow2"), Path("/raw"), writable=True)
    assert json.loads(argv[2])["filename"] == "/a,b.qcow2"


def test_cell_follows_its_owner_only_when_tethered() -> None:
    assert cell.hold_args(tethered=True)[-1] == "cat"
    assert cell.hold_args(tethered=False)[-2:] == ["sleep", "infinity"]


@pytest.mark.parametrize(
    ("life_only", "namespaces"), [(True, ["--pid"]), (False, ["--pid", "--mount", "--net"])]
)
def test_what_a_member_of_a_cell_sees(life_only: bool, namespaces: list[str]) -> None:
    argv = cell.enter_args(7, ["true"], life_only=life_only)
    assert argv == ["nsenter", "--target=7", *namespaces, "--", "true"]


def test_lvm_sees_the_images_device_only() -> None:
    argv = lvm.args("vgchange", "/dev/loop3", "-ay", "vg")
    assert 'filter=["a|^/dev/loop3$|","r|.*|"]' in argv[3]


def test_volumes_of_a_group_are_told_from_a_similar_one() -> None:
    text = "cube--vg-root\t(254:0)\ncube--vg-swap\t(254:1)\ncube--vg--old-root\t(254:2)\n"
    assert lvm.mapped("cube-vg", text) == ["cube--vg-root", "cube--vg-swap"]


def test_logical_volumes_are_read() -> None:
    text = '{"report": [{"lv": [{"lv_name": "ubuntu-lv"}, {"lv_name": "swap"}]}]}'
    assert lvm.parse_volumes(text) == ["ubuntu-lv", "swap"]
