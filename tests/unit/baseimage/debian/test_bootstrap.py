"""Debian without an installer: the command, the files, and the boot sectors."""

import json
import struct
import subprocess
from pathlib import Path

import pytest
import yaml

from cube import config
from cube.baseimage import base_files
from cube.baseimage.debian import bootstrap
from cube.config import Layout, mirrors
from cube.disks import gpt, shape
from cube.supply import trust
from tests.authority import certified

MIB = 1024 * 1024


def a_spec(folder: Path, text: str = "") -> config.Spec:
    return config.load_text(text, folder / "cube.toml")


def test_without_a_mirror_a_tree_is_made_from_debians_own(tmp_path: Path) -> None:
    assert bootstrap.mmdebstrap_args(a_spec(tmp_path), tmp_path)[-5:] == [
        "trixie",
        str(tmp_path),
        *mirrors.debian_sources(*mirrors.archives("debian-13")),
    ]


MIRRORS = """\
[network]
apt_mirror = "http://me:s%26%23cret@mirror:8080/debian/"
apt_security_mirror = "https://you@security.example/x&b"
"""


def test_a_tree_is_made_from_the_mirrors(tmp_path: Path) -> None:
    assert bootstrap.mmdebstrap_args(a_spec(tmp_path, MIRRORS), tmp_path)[-3:] == [
        "deb http://mirror:8080/debian trixie main",
        "deb http://mirror:8080/debian trixie-updates main",
        "deb https://security.example/x&b trixie-security main",
    ]


def test_logins_of_mirrors_are_in_a_file_of_ours_while_a_tree_is_made(tmp_path: Path) -> None:
    found = a_spec(tmp_path, MIRRORS)
    with bootstrap.lent_logins(found, tmp_path) as file:
        assert file is not None
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_text() == (
            "machine http://mirror:8080/debian/ login me password s&#cret\n"
            "machine https://security.example/x&b login you\n"
        )
        args = bootstrap.mmdebstrap_args(found, tmp_path, file)
    assert not file.exists()
    assert not any("s%26" in word or "s&#" in word or "you@" in word for word in args)
    hooks = [word.partition("=")[2] for word in args if "-hook=" in word]
    tree = tmp_path / "it's a 100% tree"
    file.write_text("secret")
    lend, take, *_ = hooks
    subprocess.run(["sh", "-c", lend, "sh", tree], check=True)
    lent = tree / bootstrap.LOGINS.lstrip("/")
    assert (lent.read_text(), lent.stat().st_mode & 0o777) == ("secret", 0o600)
    subprocess.run(["sh", "-c", take, "sh", tree], check=True)
    assert not lent.exists()


def test_certificates_of_cube_toml_are_trusted_while_a_tree_is_made(tmp_path: Path) -> None:
    authority, _ = certified(tmp_path, "127.0.0.1")
    found = a_spec(tmp_path, f'[network]\nca_certificates = ["{authority}"]\n')
    with trust.bundle(found) as file:
        assert file is not None
        assert authority.read_text() in file.read_text()
        assert file.stat().st_mode & file.parent.stat().st_mode & 0o044, "apt has its own account"
        args = bootstrap.mmdebstrap_args(found, tmp_path, bundle=file)
        assert f'--aptopt=Acquire::https::CAInfo "{file}"' in args
    assert not file.exists()


@pytest.mark.parametrize("word", ["host", "none"])
def test_without_certificates_apt_trusts_what_this_machine_does(tmp_path: Path, word: str) -> None:
    found = a_spec(tmp_path, f'[network]\nca_certificates = "{word}"\n')
    with trust.bundle(found) as file:
        assert file is None
    assert not any("CAInfo" in one for one in bootstrap.mmdebstrap_args(found, tmp_path))


def test_without_a_login_there_is_no_file(tmp_path: Path) -> None:
    with bootstrap.lent_logins(a_spec(tmp_path), tmp_path) as file:
        assert file is None


@pytest.mark.parametrize(
    ("kernel", "package"),
    [("generic", "linux-image-amd64"), ("cloud", "linux-image-cloud-amd64")],
)
def test_the_kernel_is_a_choice(tmp_path: Path, kernel: str, package: str) -> None:
    found = a_spec(tmp_path, f'[os."debian-13"]\nkernel = "{kernel}"\n')
    args = bootstrap.mmdebstrap_args(found, tmp_path)
    (include,) = [word for word in args if word.startswith("--include=")]
    assert package in include.removeprefix("--include=").split(",")


def test_the_proxy_is_only_in_the_environment(tmp_path: Path) -> None:
    found = a_spec(tmp_path, '[network]\nproxy = "http://proxy:3128"\n')
    assert config.proxy_environment(found)["https_proxy"] == "http://proxy:3128"
    assert not any("proxy:3128" in word for word in bootstrap.mmdebstrap_args(found, tmp_path))


def test_a_failure_tells_apts_errors_only(tmp_path: Path) -> None:
    heard = ["I: running apt-get update...", "E: Failed to fetch x", "W: odd", "E: apt failed"]
    error = bootstrap.mmdebstrap_error(a_spec(tmp_path), 25, heard)
    assert error.details == "E: Failed to fetch x\nE: apt failed"
    assert "apt_mirror" in error.hint
    assert f"{mirrors.archives('debian-13')[0]} " in error.message


def test_a_failure_without_errors_tells_the_last_lines(tmp_path: Path) -> None:
    error = bootstrap.mmdebstrap_error(a_spec(tmp_path), 1, ["unshare: no"])
    assert error.details == "unshare: no"


def test_a_tree_becomes_one_of_ours(tmp_path: Path) -> None:
    (tmp_path / "etc/ssh").mkdir(parents=True)
    (tmp_path / "etc/ssh/ssh_host_rsa_key").touch()
    for name in ("boot", "usr", "var", "etc/apt/sources.list.d"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("etc/apt/sources.list", "etc/apt/sources.list.d/0000sources.list"):
        (tmp_path / name).write_text("deb http://mirror:8080/debian trixie main\n")
    bootstrap.finish_tree(a_spec(tmp_path, MIRRORS), tmp_path)
    assert not list((tmp_path / "etc/apt/sources.list.d").iterdir())
    own = mirrors.debian_sources(*mirrors.archives("debian-13"))
    assert (tmp_path / "etc/apt/sources.list").read_text().splitlines() == own
    for name in ("etc/.updated", "var/.updated"):  # nothing is made again at the first boot
        assert (tmp_path / name).stat().st_mtime >= (tmp_path / "usr").stat().st_mtime
    assert not list((tmp_path / "etc/ssh").iterdir())
    assert (tmp_path / "etc/machine-id").read_text() == "uninitialized\n"
    assert "LABEL=cube-root / ext4" in (tmp_path / "etc/fstab").read_text()
    assert (tmp_path / "etc/netplan/10-cube.yaml").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "usr/local/sbin/cube-boot-loader").stat().st_mode & 0o777 == 0o755
    for name, target in base_files.LINKS.items():
        unit = Path(target)
        assert (tmp_path / name).readlink() == unit
        assert unit.is_relative_to("/usr") or (tmp_path / unit.relative_to("/")).is_file()


def test_every_file_of_ours_is_well_formed(tmp_path: Path) -> None:
    files = base_files.files(a_spec(tmp_path))
    cloud = yaml.safe_load(files["etc/cloud/cloud.cfg.d/99-cube.cfg"])
    assert cloud["system_info"]["default_user"]["name"] == "cube"
    assert yaml.safe_load(files["etc/netplan/10-cube.yaml"])["network"]["version"] == 2
    subprocess.run(
        ["sh", "-eu"], input=files["etc/default/grub.d/99-cube.cfg"], text=True, check=True
    )
    assert all(text.endswith("\n") for text in files.values())


@pytest.mark.parametrize(
    ("layout", "kind"),
    [
        ("plain", "0FC63DAF-8483-4772-8E79-3D69D8477DE4"),
        ("lvm", "E6D6D379-F507-44C2-A23C-238F2A3DF928"),
    ],
)
def test_the_layout_has_the_root_last(tmp_path: Path, layout: Layout, kind: str) -> None:
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(600 * MIB)
    table = gpt.partition_table(layout)
    subprocess.run(["sfdisk", "--quiet", image], input=table, text=True, check=True)
    found = subprocess.run(["sfdisk", "--json", image], capture_output=True, check=True)
    parts = json.loads(found.stdout)["partitiontable"]["partitions"]
    assert [part["name"] for part in parts] == ["bios", "esp", "root"]
    assert parts[0]["start"] * 512 == shape.BIOS_AT * MIB
    assert parts[1]["start"] * 512 == shape.ESP_AT * MIB
    assert parts[1]["size"] * 512 == 512 * MIB
    assert parts[2]["start"] * 512 == shape.ROOT_AT * MIB == 514 * MIB
    assert parts[2]["type"] == kind


@pytest.mark.parametrize(
    ("layout", "device"), [("plain", "LABEL=cube-root"), ("lvm", "/dev/mapper/cube-root")]
)
def test_the_kernel_finds_the_root_in_either_layout(
    tmp_path: Path, layout: Layout, device: str
) -> None:
    assert f"linux /vmlinuz root={device} ro" in gpt.grub_menu(layout)
    files = base_files.files(a_spec(tmp_path, f'[image]\nlayout = "{layout}"\n'))
    assert f'GRUB_DEVICE="{device}"\n' in files["etc/default/grub.d/99-cube.cfg"]


@pytest.mark.parametrize(("layout", "there"), [("plain", False), ("lvm", True)])
def test_lvm_is_in_the_image_that_needs_it(tmp_path: Path, layout: Layout, there: bool) -> None:
    found = a_spec(tmp_path, f'[image]\nlayout = "{layout}"\n')
    args = bootstrap.mmdebstrap_args(found, tmp_path)
    (include,) = [word for word in args if word.startswith("--include=")]
    assert ("lvm2" in include.removeprefix("--include=").split(",")) is there


def test_the_boot_sector_keeps_the_table_and_names_the_core_image() -> None:
    boot, table = bytes(range(256)) * 2, bytes([7]) * 512
    sector = gpt.boot_sector(boot, table)
    assert len(sector) == 512
    assert sector[0x1B8:0x1FE] == table[0x1B8:0x1FE]
    assert struct.unpack_from("<Q", sector, 0x5C) == (2048,)
    assert sector[:0x5C] == boot[:0x5C]
    assert sector[0x1FE:] == boot[0x1FE:]


def test_the_core_image_names_its_other_sectors() -> None:
    core = gpt.core_image(b"x" * 1300)
    assert len(core) == 3 * 512
    assert struct.unpack_from("<QHH", core, 0x1F4) == (2049, 2, 0x820)


def test_a_core_image_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 1 MiB"):
        gpt.core_image(bytes(MIB + 1))
