"""What the installer runs at its end: the scripts themselves, with /target moved to a folder."""

import subprocess
from pathlib import Path

import pytest

from cube.baseimage import base_files
from cube.baseimage.ubuntu import late_commands
from cube.disks import shape
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


def test_files_and_links_arrive_as_they_are_named(tmp_path: Path) -> None:
    found = a_spec(text='[image]\nhostname = "box"\n')
    for command in late_commands.late_commands(found):
        if "cat >" in command or "ln -s" in command:
            assert execute(command, tmp_path).returncode == 0
    target = tmp_path / "target"
    files = base_files.files(found)
    for name, content in files.items():
        assert (target / name).read_text() == content
        assert (target / name).stat().st_mode & 0o777 == base_files.mode_of(name)
    for name, pointed in base_files.LINKS.items():
        assert str((target / name).readlink()) == pointed
    made = {str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir()}
    assert made == {*files, *base_files.LINKS}
    assert (target / "etc/hostname").read_text() == "box\n"


def test_no_file_ends_its_own_script() -> None:
    for name, content in base_files.files(a_spec()).items():
        assert "END-OF-FILE" not in content, name
        assert content.endswith("\n"), name


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


def test_the_boot_loaders_are_installed_by_the_images_own_program() -> None:
    """After it is written, and before the mark."""
    found = commands()
    place = found.index(late_commands.BOOT_LOADERS)
    program = late_commands.BOOT_LOADERS.split()[3].lstrip("/")
    assert (
        found.index(late_commands.write_command(program, base_files.files(a_spec())[program]))
        < place
        < len(found) - 1
    )
    assert base_files.mode_of(program) == 0o755


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
