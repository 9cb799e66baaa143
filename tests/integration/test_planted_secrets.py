"""A secret of the build in any kind of place stops the seal, and the error names the place."""

import bz2
import gzip
import lzma
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import zstandard

from cube import config
from cube.config import Spec
from cube.config.workspace import Workspace
from cube.disks import ext4, mount, shape
from cube.disks.partition import Region, choose_root
from cube.disks.shape import MIB
from cube.machines import ssh
from cube.runtime import run
from cube.runtime.errors import SealError
from cube.seal import leaks, repack, sealing
from tests.initramfs import archive
from tests.integration.test_disks import as_qcow2
from tests.integration.test_repack import make_disk

#: What cube.toml names: the proxy's password is the secret.
SECRET = "open-sesame"
PROXY = f"http://anna:{SECRET}@proxy.example:3128"
NETWORK = f'[network]\nca_certificates = "none"\nproxy = "{PROXY}"\n'
BUILD = '[build]\ndir = "build"\n'


def early(content: bytes) -> bytes:
    """Return an initramfs: microcode that is not compressed, and what follows it."""
    return archive({"kernel/x86/microcode/AuthenticAMD.bin": b"microcode"}) + content


LINE = f"http_proxy={PROXY}\n"
INNER = b"x" * 3_000_000 + LINE.encode()
CONTAINER = "a" * 64
#: A file with the secret: its name below the root, and its content.
PLACES: dict[str, tuple[str, str | bytes]] = {
    "environment": ("etc/environment", LINE),
    "environment of a login shell": ("etc/profile.d/proxy.sh", f"export {LINE}"),
    "unit drop-in": (
        "etc/systemd/system/docker.service.d/http-proxy.conf", f'[Service]\nEnvironment="{LINE}"',
    ),
    "pip": ("etc/pip.conf", f"[global]\nproxy = {PROXY}\n"),
    "uv": ("etc/uv/uv.toml", f'https-proxy = "{PROXY}"\n'),
    "docker": (
        f"var/lib/docker/containers/{CONTAINER}/config.v2.json", f'{{"Env": ["{LINE.strip()}"]}}',
    ),
    "containerd": ("var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db", INNER),
    "resolver's backup": ("etc/resolv.conf.bak", f"# via {PROXY}\nnameserver 192.0.2.1\n"),
    "netplan": ("etc/netplan/90-x.yaml", f"# {PROXY}\nnetwork: {{version: 2}}\n"),
    "cloud-init's data": ("var/lib/cloud/instances/i-1/user-data.txt", LINE),
    "cloud-init's settings": ("etc/cloud/cloud.cfg.d/90-apt.cfg", f"apt: {{proxy: {PROXY}}}"),
    "history of root": ("root/.bash_history", f"curl -x {PROXY} x\n"),
    "shell of root": ("root/.bashrc", f"alias get='curl -x {PROXY}'\n"),
    "gzip": ("var/lib/x/log.1.gz", gzip.compress(INNER)),
    "two gzip streams": ("srv/a", gzip.compress(b"first") + gzip.compress(INNER)),
    "xz": ("usr/share/doc/x/notes.xz", lzma.compress(INNER)),
    "zstd": ("opt/dump.zst", zstandard.compress(b"1") + zstandard.compress(INNER)),
    "bzip2": ("opt/dump.bz2", bz2.compress(INNER)),
    "initramfs": ("boot/initrd.img-6.1", early(zstandard.compress(INNER))),
    "initramfs without microcode": ("boot/initrd.img-6.1", gzip.compress(INNER)),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A small disk of the product's shape, of a machine that is off, and its build."""

    image: Path
    spec: Spec
    work: Workspace

    @contextmanager
    def root(self) -> Iterator[Path]:
        """Mount the disk to write to it."""
        with mount.mounted(self.image, self.work.work / "run", writable=True) as root:
            yield root

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file."""
        with self.root() as root:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def seal(self) -> Path:
        """Make a file of the disk as stage 5 does."""
        file = self.work.work / "sealed.qcow2"
        with sealing.repacked(self.image, self.spec, self.work) as raw:
            sealing.flatten(raw, file)
        sealing.expect_no_residue(file, self.work.machines)
        return file


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A disk without secrets."""
    loaded = config.load_text(NETWORK + BUILD, tmp_path / "cube.toml")
    work = Workspace.of(loaded)
    work.work.mkdir(parents=True)
    ssh.make_key(work.build_key)
    return Case(as_qcow2(make_disk(tmp_path, "plain")), loaded, work)


def test_a_disk_without_secrets_is_sealed(case: Case) -> None:
    assert case.seal().exists()


@pytest.mark.parametrize("kind", PLACES)
def test_a_file_with_the_secret_stops_the_seal(kind: str, case: Case) -> None:
    name, content = PLACES[kind]
    case.write(name, content)
    with pytest.raises(SealError, match="the image gives the build away") as caught:
        case.seal()
    expect_told(caught.value, name)


def test_a_name_with_the_secret_stops_the_seal(case: Case) -> None:
    case.write(f"opt/{SECRET}", "")
    with pytest.raises(SealError) as caught:
        case.seal()
    expect_told(caught.value, "opt: ")


def expect_told(error: SealError, place: str) -> None:
    """The error names the place and the key of cube.toml, and not the secret."""
    told = f"{error.message}\n{error.details}"
    assert place in told
    assert "network.proxy" in told
    assert SECRET not in told


def root_of(raw: Path, parts: list[Region]) -> str:
    """Return the root of a raw disk, as e2fsprogs are told it."""
    return f"{raw}?offset={choose_root(parts, raw).start}"


def delete_a_file(raw: Path, parts: list[Region]) -> None:
    """Write the secret to a block that no file uses, as a deleted file leaves it."""
    at = choose_root(parts, raw).start
    start, length = max(ext4.read(raw, at).unused, key=lambda run: run[1])
    put(raw, at + start + length // 2, LINE.encode())


def write_to_journal(raw: Path, parts: list[Region]) -> None:
    block = run.run(["debugfs", "-R", f"blocks {ext4.JOURNAL}", root_of(raw, parts)]).stdout
    put(raw, choose_root(parts, raw).start + int(block.split()[5]) * 4096, LINE.encode())


def write_to_label(raw: Path, parts: list[Region]) -> None:
    run.run(["tune2fs", "-M", f"/mnt/{SECRET}", root_of(raw, parts)])


def write_to_esp(raw: Path, parts: list[Region]) -> None:
    esp = f"{raw}@@{shape.ESP_AT}M"
    run.run(["mcopy", "-i", esp, "-", "::EFI/notes"], stdin=LINE)


def write_to_deleted_esp(raw: Path, parts: list[Region]) -> None:
    write_to_esp(raw, parts)
    run.run(["mdel", "-i", f"{raw}@@{shape.ESP_AT}M", "::EFI/notes"])


def write_to_boot_sector(raw: Path, parts: list[Region]) -> None:
    put(raw, 200, SECRET.encode())


def write_to_bios_partition(raw: Path, parts: list[Region]) -> None:
    put(raw, shape.BIOS_AT * MIB + 700, SECRET.encode())


def put(raw: Path, offset: int, content: bytes) -> None:
    with raw.open("r+b") as file:
        file.seek(offset)
        file.write(content)


Plant = Callable[[Path, list[Region]], None]
#: Beside files: how the secret gets there, and how the place is called.
STRUCTURES: dict[str, tuple[Plant, str]] = {
    "deleted file": (delete_a_file, "a deleted file (block "),
    "journal": (write_to_journal, "the journal"),
    "superblock": (write_to_label, "the superblock"),
    "boot loader's partition": (write_to_esp, "the EFI system partition"),
    "deleted file of the boot loader's partition": (
        write_to_deleted_esp, "the EFI system partition",
    ),
    "boot sector": (write_to_boot_sector, "the partition table or boot sector"),
    "partition for BIOS": (write_to_bios_partition, "partition 1"),
}  # fmt: skip


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[[Plant], None]:
    """Plant on the new file systems, as if the copy had taken over what it must not."""
    whole = repack.repack

    def plan(plant: Plant) -> None:
        def spoiled(disk: Path, target: Path, work: Path) -> list[Region]:
            parts = whole(disk, target, work)
            plant(target, parts)
            return parts

        monkeypatch.setattr(repack, "repack", spoiled)

    return plan


@pytest.mark.parametrize("kind", STRUCTURES)
def test_a_structure_with_the_secret_stops_the_seal(
    kind: str, case: Case, spoil: Callable[[Plant], None]
) -> None:
    plant, place = STRUCTURES[kind]
    spoil(plant)
    with pytest.raises(SealError) as caught:
        case.seal()
    expect_told(caught.value, place)


@pytest.mark.parametrize("kind", ["deleted file", "journal"])
def test_what_is_left_in_unused_blocks_stops_the_seal_whatever_it_is(
    kind: str, case: Case, spoil: Callable[[Plant], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaks, "expect_none", lambda *_: None)
    spoil(STRUCTURES[kind][0])
    with pytest.raises(SealError, match="1 runs of free blocks are not zero"):
        case.seal()


def test_what_was_deleted_before_the_copy_is_not_sealed(case: Case, tmp_path: Path) -> None:
    """Files, names, the superblock and the boot loader's partition: the copy leaves them behind."""
    with case.root() as root:
        (root / f"etc/{SECRET}").write_text(LINE * 1000)
        os.sync()
        (root / f"etc/{SECRET}").unlink()
    raw = tmp_path / "lived-in.raw"
    run.run(["qemu-img", "convert", "-O", "raw", case.image, raw])
    run.run(["tune2fs", "-M", f"/{SECRET}", f"{raw}?offset={shape.ROOT_AT * MIB}"])
    write_to_deleted_esp(raw, [])
    assert raw.read_bytes().count(SECRET.encode()) > 1000
    run.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, case.image])
    run.run(["qemu-img", "convert", "-O", "raw", case.seal(), raw])
    assert SECRET.encode() not in raw.read_bytes()


def test_an_initramfs_that_cannot_be_searched_stops_the_seal(case: Case) -> None:
    case.write("boot/initrd.img-6.1", early(b"\x04\x22\x4d\x18" + b"lz4"))
    with pytest.raises(SealError, match=r"/boot/initrd.img-6.1: its compression is not known"):
        case.seal()
