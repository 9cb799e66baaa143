"""cube-swap, with the tools that touch disks and swap replaced by scripts that note their call."""

import subprocess
from pathlib import Path

import pytest

from deploy.runner.sources import ROOT

SCRIPT = ROOT / "files" / "common" / "cube-swap"
MIB = 1 << 20

#: What is on is a line of the file `on`; a swap area of ours says so in its first bytes.
TOOLS = {
    "blkid": 'for file; do :; done; ! grep -aq "^cube-swap" "$file" || echo cube-swap',
    "swapon": 'case $1 in --show*) cat on 2>/dev/null ;; *) echo "$1" >>on ;; esac; true',
    "swapoff": '[ -z "$STUCK" ] || { echo "swapoff: no memory" >&2; exit 4; }; : >on',
    "fallocate": "truncate --size ${2%MiB}M $3",
    "mkswap": 'for file; do :; done; printf cube-swap | dd of="$file" conv=notrunc status=none',
    "chattr": "exit 1",  # no btrfs
    "df": 'echo "size avail"; echo "${DISK:-20000 15000}"',
}


class Box:
    """A folder that is the root of a machine."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.file = self.root / "swap.img"
        self.bin = folder / "bin"
        for made in (self.root, self.bin):
            made.mkdir()
        for name, body in TOOLS.items():
            tool = self.bin / name
            tool.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.root}/calls\n{body}\n')
            tool.chmod(0o755)

    def run(self, mib: str, **env: str) -> "subprocess.CompletedProcess[str]":
        (self.root / "calls").write_text("")
        path = {"PATH": f"{self.bin}:/usr/bin:/bin", "CUBE_ROOT": str(self.root)}
        return subprocess.run(
            ["sh", str(SCRIPT)],
            env={**path, "SWAP_MIB": mib, **env},
            cwd=self.root,
            text=True,
            capture_output=True,
            check=False,
        )

    @property
    def changes(self) -> list[str]:
        """Return the programs that changed something, in their order."""
        calls = (self.root / "calls").read_text().splitlines()
        readers = ("blkid", "df", "chattr", "swapon --show")
        return [call.split()[0] for call in calls if not call.startswith(readers)]

    @property
    def on(self) -> list[str]:
        """Return what swaps."""
        on = self.root / "on"
        return on.read_text().splitlines() if on.exists() else []

    @property
    def files(self) -> set[str]:
        """Return the files that are no notes of the test."""
        return {path.name for path in self.root.iterdir()} - {"calls", "on"}


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_a_file_is_made_once(box: Box) -> None:
    done = box.run("64")
    assert (done.returncode, done.stdout) == (0, f"cube-swap: made {box.file} of 64 MiB\n")
    assert box.changes == ["fallocate", "mkswap", "swapon"]
    assert box.file.stat().st_size == 64 * MIB
    assert box.file.stat().st_mode & 0o777 == 0o600
    assert box.on == [str(box.file)]
    assert (box.run("64").returncode, box.changes) == (0, [])


def test_after_a_restart_it_is_turned_on_again(box: Box) -> None:
    box.run("64")
    (box.root / "on").unlink()
    box.file.chmod(0o644)
    assert (box.run("64").returncode, box.changes) == (0, ["swapon"])
    assert box.file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("size", ["32", "128"])
def test_another_size_makes_it_anew(box: Box, size: str) -> None:
    box.run("64")
    assert box.run(size).returncode == 0
    assert box.changes == ["swapoff", "fallocate", "mkswap", "swapon"]
    assert box.file.stat().st_size == int(size) * MIB
    assert box.on == [str(box.file)]


def test_none_removes_what_was_made(box: Box) -> None:
    assert (box.run("0").returncode, box.changes) == (0, [])
    box.run("64")
    assert box.run("0").returncode == 0
    assert box.changes == ["swapoff"]
    assert (box.files, box.on) == (set(), [])


@pytest.mark.parametrize(
    ("wanted", "code"), [("0", 0), ("64", 0), ("65", 1)], ids=["none", "the same", "another size"]
)
def test_a_file_of_somebody_else_stays(box: Box, wanted: str, code: int) -> None:
    box.file.write_bytes(b"\0" * 64 * MIB)
    done = box.run(wanted)
    assert done.returncode == code
    assert f"{box.file}" in done.stdout
    assert "not of this program" in done.stdout
    assert (box.changes, box.files) == ([], {"swap.img"})


@pytest.mark.parametrize(
    ("disk", "mib", "code"),
    [
        ("20000 4000", "2000", 0),  # a tenth, 2000 MiB, stays free
        ("20000 4000", "2001", 1),
        ("8000 2024", "1000", 0),  # 1 GiB stays free, which is more than a tenth
        ("8000 2024", "1001", 1),
        ("20000 10", "1", 1),
    ],
)
def test_swap_does_not_fill_the_disk(box: Box, disk: str, mib: str, code: int) -> None:
    done = box.run(mib, DISK=disk)
    assert done.returncode == code, done.stdout
    assert box.file.exists() is (code == 0)
    assert ("must stay free" in done.stdout) is (code == 1)


def test_the_room_of_the_old_file_counts_for_the_new_one(box: Box) -> None:
    box.run("64")
    assert box.run("100", DISK="20000 2040").returncode == 0
    assert box.run("200", DISK="20000 2040").returncode == 1
    assert box.file.stat().st_size == 100 * MIB
    assert box.on == [str(box.file)]


def test_what_a_run_left_that_broke_off_goes(box: Box) -> None:
    (box.root / "swap.img.new").write_bytes(b"\0" * MIB)
    assert box.run("64").returncode == 0
    assert box.files == {"swap.img"}


def test_a_failure_leaves_no_half_file(box: Box) -> None:
    (box.bin / "mkswap").write_text("#!/bin/sh\nexit 1\n")
    assert box.run("64").returncode == 1
    assert box.files == set()


def test_swap_that_is_needed_is_kept(box: Box) -> None:
    box.run("64")
    done = box.run("128", STUCK="yes")
    assert done.returncode == 4
    assert "no memory" in done.stderr
    assert box.file.stat().st_size == 64 * MIB


@pytest.mark.parametrize("word", ["", "much", "-1", "1.5", "0x10"])
def test_a_size_that_is_no_number_is_told(box: Box, word: str) -> None:
    done = box.run(word)
    assert done.returncode == 1
    assert f"SWAP_MIB={word} in /etc/cube/swap.conf: write a number" in done.stdout
