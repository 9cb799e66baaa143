import json
from pathlib import Path

import pytest

from cube.disks import fuse_export, mount
from cube.runtime import namespaces


@pytest.mark.parametrize(
    ("fs_type", "options"),
    [("ext4", "ro,noload"), ("xfs", "ro,norecovery"), ("vfat", "ro")],
)
def test_reading_never_replays_a_journal(fs_type: str, options: str) -> None:
    argv = mount.mount_args("/dev/loop0", Path("/root"), fs_type, writable=False)
    assert argv == ["mount", "-t", fs_type, "-o", options, "/dev/loop0", "/root"]


def test_reading_opens_the_file_itself_read_only() -> None:
    argv = fuse_export.daemon_args(Path("/d.qcow2"), Path("/raw"), writable=False)
    documents = [json.loads(word) for word in argv if word.startswith("{")]
    assert [d.get("read-only", not d.get("writable")) for d in documents] == [True, True, True]


def test_file_name_with_a_comma_is_no_option() -> None:
    argv = fuse_export.daemon_args(Path("/a,b.qcow2"), Path("/raw"), writable=True)
    assert json.loads(argv[2])["filename"] == "/a,b.qcow2"


def test_cell_follows_its_owner_only_when_tethered() -> None:
    assert namespaces.hold_args(tethered=True)[-1] == "cat"
    assert namespaces.hold_args(tethered=False)[-2:] == ["sleep", "infinity"]


@pytest.mark.parametrize(
    ("life_only", "entered"), [(True, ["--pid"]), (False, ["--pid", "--mount", "--net"])]
)
def test_what_a_member_of_a_cell_sees(life_only: bool, entered: list[str]) -> None:
    argv = namespaces.enter_args(7, ["true"], life_only=life_only)
    assert argv == ["nsenter", "--target=7", *entered, "--", "true"]
