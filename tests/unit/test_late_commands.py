"""What the installer runs at its end: the scripts themselves, with /target moved to a folder."""

import subprocess
from pathlib import Path

import pytest
import yaml

from cube import conventions, late_commands, shape
from tests.unit.answers import MIRRORS, a_spec, answers

LAYOUTS: tuple[shape.Layout, ...] = ("lvm", "plain")


def execute(
    command: str, folder: Path, programs: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a late-command as the installer does, on a folder, with programs of its own first."""
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    for name, body in (programs or {}).items():
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    return subprocess.run(
        ["sh", "-c", command.replace("/target", f"{folder}/target")],
        env={"PATH": f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / "target" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def commands(layout: shape.Layout = "lvm", text: str = "") -> list[str]:
    return late_commands.late_commands(a_spec(layout, text))


def test_files_arrive_as_they_were_written(tmp_path: Path) -> None:
    found = a_spec(text='[image]\nhostname = "box"\n')
    for command in late_commands.late_commands(found):
        if "cat >" in command:
            assert execute(command, tmp_path).returncode == 0
    target = tmp_path / "target"
    files = conventions.files(found)
    for name, content in files.items():
        assert (target / name).read_text() == content
    assert (target / "etc/hostname").read_text() == "box\n"
    assert yaml.safe_load((target / "etc/netplan/10-cube.yaml").read_text())["network"]


@pytest.mark.parametrize(
    ("layout", "device"), [("lvm", "/dev/mapper/cube-root"), ("plain", "LABEL=cube-root")]
)
def test_the_kernel_is_told_the_root_of_the_layout(layout: shape.Layout, device: str) -> None:
    assert any(f'GRUB_DEVICE="{device}"\n' in command for command in commands(layout))


def test_the_mark_is_the_last_thing_done() -> None:
    assert f"echo {late_commands.INSTALLED} >" in commands()[-1]


@pytest.mark.parametrize("kind", ["early-commands", "late-commands", "error-commands"])
@pytest.mark.parametrize("text", ["", MIRRORS])
def test_a_shell_understands_every_command(kind: str, text: str) -> None:
    for command in answers(text=text)[kind]:
        subprocess.run(["sh", "-n"], input=command, text=True, check=True)


# The boot loader.

FIND_LVM = {
    "findmnt": '[ "$*" = "--noheadings --nofsroot --output SOURCE --mountpoint $T" ] &&'
    " echo /dev/mapper/cube-root",
    "lsblk": "printf '/dev/mapper/cube-root lvm\\n/dev/vda3 part\\n/dev/vda disk\\n'",
}
FIND_PLAIN = {
    "findmnt": "echo /dev/nvme0n1p3",
    "lsblk": "printf '/dev/nvme0n1p3 part\\n/dev/nvme0n1 disk\\n'",
}


@pytest.mark.parametrize(
    ("programs", "disk"), [(FIND_LVM, "/dev/vda"), (FIND_PLAIN, "/dev/nvme0n1")]
)
def test_grub_for_bios_goes_to_the_disk_of_the_root(
    tmp_path: Path, programs: dict[str, str], disk: str
) -> None:
    log = tmp_path / "log"
    own = {name: body.replace("$T", f"{tmp_path}/target") for name, body in programs.items()}
    done = execute(late_commands.GRUB_FOR_BIOS, tmp_path, {**own, "curtin": f'echo "$@" >{log}'})
    assert done.returncode == 0
    assert log.read_text() == f"in-target -- grub-install --target=i386-pc {disk}\n"


@pytest.mark.parametrize(
    "broken",
    [{"findmnt": "exit 1"}, {"lsblk": "echo /dev/loop0 loop"}, {"lsblk": "exit 1"},
     {"curtin": "exit 1"}],
)  # fmt: skip
def test_without_a_disk_or_grub_the_installation_fails(
    tmp_path: Path, broken: dict[str, str]
) -> None:
    programs = {**FIND_PLAIN, "curtin": "true", **broken}
    assert execute(late_commands.GRUB_FOR_BIOS, tmp_path, programs).returncode != 0


def test_the_removable_path_has_the_signed_chain(tmp_path: Path) -> None:
    for name in ("shimx64", "grubx64", "mmx64"):
        write(tmp_path, f"boot/efi/EFI/ubuntu/{name}.efi", name)
    for _ in range(2):  # a second time changes nothing
        assert execute(late_commands.REMOVABLE_PATH, tmp_path).returncode == 0
        boot = tmp_path / "target/boot/efi/EFI/BOOT"
        assert {path.name: path.read_text() for path in boot.iterdir()} == {
            "BOOTX64.EFI": "shimx64",
            "grubx64.efi": "grubx64",
            "mmx64.efi": "mmx64",
        }


@pytest.mark.parametrize("missing", ["shimx64", "grubx64", "mmx64"])
def test_without_the_signed_chain_the_installation_fails(tmp_path: Path, missing: str) -> None:
    """It would, too, if the installer had run under BIOS: then there is no EFI/ubuntu."""
    for name in {"shimx64", "grubx64", "mmx64"} - {missing}:
        write(tmp_path, f"boot/efi/EFI/ubuntu/{name}.efi", name)
    assert execute(late_commands.REMOVABLE_PATH, tmp_path).returncode != 0


def test_upgrades_of_the_boot_loader_find_the_esp_of_every_clone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    programs = {
        "curtin": 'shift 2; exec "$@"',
        "debconf-set-selections": f"cat >{log}",
    }
    assert execute(late_commands.UPGRADED_ESP, tmp_path, programs).returncode == 0
    assert log.read_text() == (
        "grub-efi-amd64 grub-efi/install_devices multiselect /dev/disk/by-label/CUBE-ESP\n"
    )


# fstab.

GOOD = """\
# / was on LABEL=cube-root during curtin installation
LABEL=cube-root / ext4 errors=remount-ro 0 1
# /boot/efi was on LABEL=CUBE-ESP during curtin installation
LABEL=CUBE-ESP /boot/efi vfat umask=0077,nofail 0 1
"""


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (GOOD, True),
        (GOOD.replace("LABEL=cube-root / ", "/dev/disk/by-uuid/x / "), False),
        (GOOD.replace("LABEL=CUBE-ESP /boot", "/dev/vda2 /boot"), False),
        (GOOD + "/swap.img none swap sw 0 0\n", False),
        (GOOD + "/dev/disk/by-uuid/y /boot ext4 defaults 0 1\n", False),
        ("", False),
    ],
)
def test_both_mounts_are_named_by_label_and_there_is_no_other(
    tmp_path: Path, text: str, right: bool
) -> None:
    write(tmp_path, "etc/fstab", text)
    assert (execute(late_commands.FSTAB, tmp_path).returncode == 0) is right


# apt.

SOURCES = "etc/apt/sources.list.d/ubuntu.sources"
OWN = "Types: deb\nURIs: http://archive.ubuntu.com/ubuntu/\n"


def apt_commands(text: str) -> list[str]:
    return [command for command in commands(text=text) if "apt" in command and "cat" not in command]


def test_without_a_mirror_the_sources_stay_as_curtin_wrote_them(tmp_path: Path) -> None:
    written = write(tmp_path, SOURCES, "as curtin wrote it")
    copied = write(tmp_path, f"{SOURCES}.curtin.orig", OWN)
    for command in apt_commands(""):
        assert execute(command, tmp_path).returncode == 0
    assert written.read_text() == "as curtin wrote it"
    assert not copied.exists()
    assert late_commands.use_mirrors(a_spec()) == []


@pytest.mark.parametrize(
    "text", [MIRRORS, '[network]\napt_security_mirror = "http://mirror.example/security"\n']
)
def test_with_a_mirror_ubuntus_own_sources_come_back(tmp_path: Path, text: str) -> None:
    written = write(tmp_path, SOURCES, OWN.replace("archive.ubuntu.com", "mirror.example"))
    write(tmp_path, f"{SOURCES}.curtin.orig", OWN)
    proxy = write(tmp_path, "etc/apt/apt.conf.d/90curtin-aptproxy", "http://proxy.example:3128/")
    lists = write(tmp_path, "var/lib/apt/lists/mirror.example_ubuntu", "x")
    for command in apt_commands(text):
        assert execute(command, tmp_path, {"curtin": "true"}).returncode == 0
    for command in late_commands.find_traces(a_spec(text=text)):
        assert execute(command, tmp_path).returncode == 0
    assert written.read_text() == OWN
    assert [path.name for path in written.parent.iterdir()] == ["ubuntu.sources"]
    assert not proxy.exists()
    assert not lists.exists()


def test_a_mirror_that_does_not_answer_ends_the_installation(tmp_path: Path) -> None:
    (command,) = late_commands.use_mirrors(a_spec(text=MIRRORS))
    assert command == commands(text=MIRRORS)[0]
    assert execute(command, tmp_path, {"curtin": "exit 100"}).returncode != 0


@pytest.mark.parametrize(
    ("left", "clean"),
    [("http://mirror.example/ubuntu", False), ("http://proxy.example:3128", False),
     ("http://archive.ubuntu.com/ubuntu", True)],
)  # fmt: skip
def test_what_still_names_a_mirror_or_the_proxy_ends_the_installation(
    tmp_path: Path, left: str, clean: bool
) -> None:
    write(tmp_path, "etc/environment", f"x={left} y\n")
    (command,) = late_commands.find_traces(a_spec(text=MIRRORS))
    assert command in commands(text=MIRRORS)
    assert (execute(command, tmp_path).returncode == 0) is clean


def test_ubuntus_own_address_as_a_mirror_leaves_no_trace_to_find() -> None:
    text = '[network]\napt_mirror = "http://archive.ubuntu.com/ubuntu"\n'
    assert late_commands.find_traces(a_spec(text=text)) == []


@pytest.mark.parametrize(
    ("text", "security"),
    [
        ('apt_mirror = "http://m/ubuntu"', "http://m/ubuntu"),
        ('apt_mirror = "http://m/ubuntu"\napt_security_mirror = "http://s/u"', "http://s/u"),
        ('apt_security_mirror = "http://s/u"', "http://s/u"),
        ("", ""),
    ],
)
def test_a_mirror_serves_security_too(text: str, security: str) -> None:
    found = answers(text=f"[network]\n{text}\n")["apt"]
    wanted = [{"arches": ["default"], "uri": security}] if security else None
    assert found.get("security") == wanted
