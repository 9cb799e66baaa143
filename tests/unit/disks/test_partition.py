"""What is on a disk, and what its fstab means: tables, names, volumes, the root."""

import json
import subprocess
from pathlib import Path

import pytest

from cube.disks import fstab, lvm, partition
from cube.disks.partition import Region
from cube.runtime.errors import MachineError


def part(number: int, fs_type: str, label: str = "", obstacle: str = "") -> Region:
    tags = {"ID_FS_TYPE": fs_type, "ID_FS_LABEL_ENC": label, "ID_FS_UUID_ENC": f"u-{number}"}
    return Region(
        start=number,
        size=1,
        what=f"partition {number}",
        tags=tags,
        obstacle=obstacle,
        names=partition.names_of(tags, partuuid=f"P-{number}", partlabel=f"p{number}"),
    )


ESP = part(1, "vfat", "CUBE-ESP")
DISK = Path("disk.qcow2")


@pytest.mark.parametrize(
    ("found", "start"),
    [
        ([ESP, part(2, "ext4")], 2),
        ([ESP, part(2, "xfs")], 2),
        ([part(2, "ext4"), part(3, "ext4")], 3),
        ([part(2, "ext4", "cube-root"), part(3, "ext4")], 2),
        ([part(2, "ext4"), part(3, "swap")], 2),
        ([part(2, "LVM2_member"), part(3, "ext4")], 3),
        ([part(2, "ext4", "cube-root"), part(3, "", obstacle="it is striped")], 2),
    ],
)
def test_the_root_is_labelled_or_the_last(found: list[Region], start: int) -> None:
    assert partition.choose_root(found, DISK).start == start


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([ESP], "no root file system (one of ext4, xfs) among: partition 1 (vfat)"),
        ([], "among: no partitions"),
        ([part(2, "crypto_LUKS")], "partition 2 (crypto_LUKS)"),
        ([part(2, "")], "partition 2 (unknown)"),
        # A /boot of its own is not taken for the root.
        ([part(2, "ext4"), part(3, "", obstacle="it is thin")], "partition 3 cannot be mounted"),
    ],
)
def test_a_disk_without_a_root_is_refused(found: list[Region], words: str) -> None:
    with pytest.raises(MachineError) as caught:
        partition.choose_root(found, DISK)
    assert words in caught.value.message
    assert caught.value.hint


def entry(source: str, options: str = "defaults") -> fstab.Entry:
    return fstab.Entry(
        source=source, target=Path("/boot"), type="ext4", options=tuple(options.split(","))
    )


BOOT = Region(
    start=7, size=1, what="partition 7", tags={},
    names=partition.names_of(
        {"ID_FS_UUID_ENC": "0A1B-c2", "ID_FS_LABEL_ENC": r"My\x20Boot"},
        partuuid="F16E8B40-DCC1", partlabel=r"the\x20boot",
    ),
)  # fmt: skip
VOLUME = Region(
    start=8, size=1, what="volume", tags={},
    names=partition.names_of(
        {"ID_FS_UUID_ENC": "ab"}, mapper="my--vg-boot--lv", path="/dev/my-vg/boot-lv", dm_uuid="Xy9"
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("source", "start"),
    [
        ("UUID=0A1B-c2", 7),
        ("UUID=0a1b-C2", 7),
        ('UUID="0A1B-c2"', 7),
        ("LABEL=My Boot", 7),
        ("PARTUUID=f16e8b40-dcc1", 7),
        ("PARTLABEL=the boot", 7),
        ("/dev/disk/by-uuid/0A1B-c2", 7),
        ("/dev/disk/by-label/My\\x20Boot", 7),
        ("/dev/disk/by-partuuid/f16e8b40-dcc1", 7),
        ("/dev/disk/by-partlabel/the\\x20boot", 7),
        ("/dev/mapper/my--vg-boot--lv", 8),
        ("/dev/my-vg/boot-lv", 8),
        ("/dev/disk/by-id/dm-name-my--vg-boot--lv", 8),
        ("/dev/disk/by-id/dm-uuid-LVM-Xy9", 8),
        ("/dev/disk/by-uuid/ab", 8),
    ],
)
def test_what_a_source_of_fstab_means(source: str, start: int) -> None:
    found = fstab.find(entry(source), [ESP, BOOT, VOLUME])
    assert found is not None
    assert found.start == start


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("UUID=other", "add the option nofail"),
        ("LABEL=", "add the option nofail"),
        ("/dev/mapper/my-vg-boot-lv", "add the option nofail"),
        ("/dev/sda1", "depends on the machine"),
        ("/dev/nvme0n1p2", "depends on the machine"),
    ],
)
def test_a_source_that_is_not_there_is_refused(source: str, words: str) -> None:
    with pytest.raises(MachineError, match="is not on the disk") as caught:
        fstab.find(entry(source), [ESP, BOOT, VOLUME])
    assert source in caught.value.message
    assert words in caught.value.hint
    assert fstab.find(entry(source, "ro,nofail"), [ESP, BOOT, VOLUME]) is None


TABLE = """\
# comment
LABEL=CUBE-ESP	/boot/efi vfat umask=0077,nofail 0 2
UUID="ABCD-1234" /boot ext4 defaults 0 1
LABEL=My\\040Root / ext4 defaults 0 1
/swap.img none swap sw 0 0
broken
"""


def test_libmount_reads_the_table(tmp_path: Path) -> None:
    file = tmp_path / "fstab"
    file.write_text(TABLE)
    argv = ["findmnt", "--json", "--list", "--output", "SOURCE,TARGET,FSTYPE,OPTIONS"]
    done = subprocess.run([*argv, "--tab-file", file], capture_output=True, text=True, check=True)
    assert [
        (one.source, str(one.target), one.may_be_missing) for one in fstab.parse(done.stdout)
    ] == [
        ("LABEL=My Root", "/", False),
        ('UUID="ABCD-1234"', "/boot", False),
        ("LABEL=CUBE-ESP", "/boot/efi", True),
        ("/swap.img", "none", False),
    ]
    assert fstab.parse("") == []


def test_partitions_are_in_bytes() -> None:
    row = {"start": 2048, "size": 8, "uuid": "U", "name": "esp"}
    table = {"sectorsize": 4096, "partitions": [row]}
    assert partition.parse_partitions(json.dumps({"partitiontable": table})) == [
        partition.Slot(start=2048 * 4096, size=8 * 4096, uuid="U", name="esp")
    ]


def test_tags_may_hold_an_equals_sign() -> None:
    assert partition.parse_tags("A=ext4\nB=a=b\nnonsense\n") == {"A": "ext4", "B": "a=b"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a b", r"a\x20b"), ("a/b", r"a\x2fb"), ("a\\b", r"a\x5cb"), ("Wurzel-1.0_@:+#=", None),
     ("größe", None)],
)  # fmt: skip
def test_names_are_escaped_as_udev_does(value: str, expected: str | None) -> None:
    assert partition.encoded(value) == (expected or value)


#: As LVM 2.03.16 prints them (lvs --segments, pvs) of volumes on one device.
STARTS = '{"report": [{"pv": [{"pe_start": "1048576"}]}]}'
SEGMENT = {
    "vg_name": "my-vg", "lv_name": "root", "vg_uuid": "g4y-ED1", "lv_uuid": "9y7-WGv",
    "segtype": "linear", "seg_size": "8388608", "lv_size": "8388608",
    "seg_pe_ranges": "/dev/loop0:3-4", "vg_extent_size": "4194304",
}  # fmt: skip


def segments(*rows: dict[str, str]) -> list[lvm.Volume]:
    text = json.dumps({"report": [{"seg": [{**SEGMENT, **row} for row in rows]}]})
    return lvm.parse_volumes(STARTS, text, "/dev/loop0")


def test_a_linear_volume_is_a_range_of_bytes() -> None:
    (found,) = segments({})
    assert (found.start, found.size, found.obstacle) == (1048576 + 3 * 4194304, 8388608, "")
    assert (found.mapper, found.uuid) == ("my--vg-root", "g4yED19y7WGv")


@pytest.mark.parametrize(
    ("rows", "obstacle"),
    [
        ([{"segtype": "striped"}], "it is striped"),
        ([{"segtype": "thin", "seg_pe_ranges": "pool:0-1"}], "it is thin"),
        ([{"segtype": "raid1"}], "it is raid1"),
        ([{}, {"seg_pe_ranges": "/dev/loop0:9-9"}], "it has 2 segments"),
        ([{"seg_pe_ranges": "/dev/sdb:0-1"}], "its data is on /dev/sdb"),
        ([{"seg_pe_ranges": "[unknown]:0-1"}], "its data is on [unknown]"),
    ],
)
def test_another_volume_says_why_it_is_none(rows: list[dict[str, str]], obstacle: str) -> None:
    (found,) = segments(*rows)
    assert found.obstacle == obstacle


@pytest.mark.parametrize("text", ["", "{}", '{"report": []}', '{"report": [{"seg": [{}]}]}', "[]"])
def test_a_report_that_is_none_is_told(text: str) -> None:
    with pytest.raises(MachineError, match="LVM's report cannot be read"):
        lvm.volumes(lambda argv: STARTS if argv[1] == "pvs" else text, "/dev/loop0")


def test_lvm_sees_one_device_and_no_device_mapper() -> None:
    argv = lvm.args("lvs", "/dev/loop3", "--noheadings")
    assert 'filter=["a|^/dev/loop3$|","r|.*|"]' in argv[argv.index("--config") + 1]
    assert argv[2:4] == ["--driverloaded", "n"]
