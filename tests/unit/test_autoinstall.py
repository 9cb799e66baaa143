"""Ubuntu's unattended installation: our answers, and mistakes that the installer would miss."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cube import autoinstall, spec
from cube.errors import SpecError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI someone"


def render(folder: Path, text: str = "") -> str:
    return autoinstall.render_user_data(spec.load_text(text, folder / "cube.toml"), KEY)


def answers(folder: Path, text: str = "") -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(render(folder, text))["autoinstall"]
    return found


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[network]\nproxy = "http://proxy:3128"\napt_mirror = "http://mirror/ubuntu"\n',
        '[network]\napt_security_mirror = "http://me:secret@mirror/ubuntu"\n',
        '[image]\nlocale = "de_DE.UTF-8"\ntimezone = "Europe/Berlin"\nhostname = "box"\n',
        '[admin]\nuser = "someone"\n',
    ],
)
def test_our_answers_are_right(tmp_path: Path, text: str) -> None:
    assert autoinstall.check_user_data(render(tmp_path, text)) == []


MISTAKES = [
    ("an unknown section", {"late_commands": ["true"]}, "late_commands: Extra inputs"),
    ("growpart, which has no LVM code", {"growpart": {"mode": "auto"}}, "growpart: Extra inputs"),
    ("growpart for cloud-init", {"user-data": {"growpart": {}}}, "growpart: Extra inputs"),
    ("another version", {"version": 2}, "version: Input should be 1"),
    ("a version in quotes", {"version": "1"}, "version: Input should be 1"),
    ("network nested twice", {"network": {"network": {"version": 2}}}, "network.network: Extra"),
    ("one interface's name",
     {"network": {"version": 2, "ethernets": {"e": {"match": {"name": "ens3"}, "dhcp4": True}}}},
     "match.name: String should match"),
    ("no interface", {"network": {"version": 2, "ethernets": {}}}, "at least 1 item"),
    ("nobody to log in", {"user-data": None}, "identity or user-data is required"),
    ("a password in the clear",
     {"identity": {"username": "u", "hostname": "h", "password": "secret"}}, "identity.password"),
    ("a bogus layout", {"storage": {"layout": {"name": "lvm2"}}}, "layout.name: Input should be"),
    ("half of the volume group", {"storage": {"layout": {"name": "lvm"}}}, "must be all"),
    ("half of it, and said so",
     {"storage": {"layout": {"name": "lvm", "sizing-policy": "scaled"}}}, "must be all"),
    ("a bogus policy",
     {"storage": {"layout": {"name": "lvm", "sizing-policy": "max"}}}, "sizing-policy"),
    ("a layout and partitions",
     {"storage": {"layout": {"name": "direct"}, "config": []}}, "storage.config: Extra"),
    ("updates of no kind", {"updates": "none"}, "updates: Input should be"),
    ("a reboot, which would start again", {"shutdown": "reboot"}, "shutdown: Input should be"),
    ("passwords over ssh", {"ssh": {"install-server": True, "allow-pw": True}}, "ssh.allow-pw"),
    ("no ssh", {"ssh": {"install-server": False, "allow-pw": False}}, "ssh.install-server"),
    ("a key with an underscore",
     {"ssh": {"install_server": True, "allow-pw": False}}, "ssh.install_server: Extra"),
    ("where the user is, asked of the internet",
     {"apt": {"geoip": True, "fallback": "abort"}}, "apt.geoip"),
    ("a fallback that is not said", {"apt": {"geoip": False}}, "apt.fallback: Field required"),
    ("a bogus fallback", {"apt": {"geoip": False, "fallback": "retry"}}, "apt.fallback: Input"),
    ("a mirror of no kind",
     {"apt": {"geoip": False, "fallback": "abort",
              "mirror-selection": {"primary": [{"uri": "mirror/ubuntu"}]}}}, "uri: String should"),
    ("a mirror of security updates for one architecture",
     {"apt": {"geoip": False, "fallback": "abort",
              "security": [{"arches": ["amd64"], "uri": "http://m/ubuntu"}]}}, "security.0.arches"),
    ("commands that are one string", {"late-commands": "true"}, "late-commands: Input should be"),
    ("nothing done at the end", {"late-commands": []}, "late-commands: List should have"),
    ("silence on failure", {"error-commands": None}, "error-commands"),
    ("another installer", {"refresh-installer": {"update": True}}, "refresh-installer.update"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_a_mistake_is_told(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    text = "#cloud-config\n" + yaml.safe_dump({"autoinstall": answers(tmp_path) | change})
    assert any(expected in problem for problem in autoinstall.check_user_data(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "first line"),
        ("autoinstall:\n  version: 1\n", "first line"),
        ("#cloud-config\nautoinstall: [", "not valid YAML"),
        ("#cloud-config\nversion: 1\n", "autoinstall: Field required"),
        ("#cloud-config\n- autoinstall\n", "top: Input should be"),
        ("#cloud-config\n", "top: Input should be"),
    ],
)
def test_a_file_that_is_none_is_told(text: str, expected: str) -> None:
    assert expected in "\n".join(autoinstall.check_user_data(text))


def test_the_key_is_let_in_and_no_password_is_set(tmp_path: Path) -> None:
    text = render(tmp_path)
    (user,) = yaml.safe_load(text)["autoinstall"]["user-data"]["users"]
    assert user["ssh_authorized_keys"] == [KEY]
    assert user["lock_passwd"] is True
    assert "\n  identity:" not in text
    assert "passwd:" not in text.replace("lock_passwd:", "")


def test_the_mirror_and_the_proxy_are_used(tmp_path: Path) -> None:
    network = '[network]\nproxy = "http://proxy:3128"\napt_mirror = "http://mirror/ubuntu"\n'
    found = answers(tmp_path, network)
    assert found["proxy"] == "http://proxy:3128"
    assert found["apt"]["mirror-selection"] == {"primary": [{"uri": "http://mirror/ubuntu"}]}
    assert found["apt"]["security"] == [{"arches": ["default"], "uri": "http://mirror/ubuntu"}]


def test_security_updates_may_have_a_mirror_of_their_own(tmp_path: Path) -> None:
    network = '[network]\napt_security_mirror = "http://mirror/security"\n'
    found = answers(tmp_path, network)["apt"]
    assert found["security"] == [{"arches": ["default"], "uri": "http://mirror/security"}]
    assert "mirror-selection" not in found


def test_without_a_mirror_the_installer_takes_its_own(tmp_path: Path) -> None:
    assert answers(tmp_path)["apt"] == {"geoip": False, "fallback": "abort"}


def run_on_target(tmp_path: Path, commands: list[str]) -> Path:
    """Run commands with /target moved to a folder, and return it."""
    target = tmp_path / "target"
    for command in commands:
        script = command.replace("/target", str(target))
        subprocess.run(["sh", "-eu"], input=script, text=True, check=True)
    return target


def test_no_mirror_stays_in_the_sources(tmp_path: Path) -> None:
    parts = tmp_path / "target/etc/apt/sources.list.d"
    parts.mkdir(parents=True)
    for name in ("ubuntu.sources", "ubuntu.sources.curtin.orig", "../sources.list.curtin.old"):
        (parts / name).write_text("URIs: http://me:secret@mirror/ubuntu\n")
    commands = answers(tmp_path, '[network]\napt_mirror = "http://mirror/ubuntu"\n')[
        "late-commands"
    ]
    target = run_on_target(tmp_path, [one for one in commands if "sources.list" in one])
    assert [file.name for file in parts.iterdir()] == ["ubuntu.sources"]
    assert not (target / "etc/apt/sources.list.curtin.old").exists()
    assert (
        (parts / "ubuntu.sources").read_text()
        == """\
Types: deb
URIs: http://archive.ubuntu.com/ubuntu/
Suites: noble noble-updates noble-backports
Components: main universe restricted multiverse
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg

Types: deb
URIs: http://security.ubuntu.com/ubuntu/
Suites: noble-security
Components: main universe restricted multiverse
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg
"""
    )


def test_the_mark_is_the_last_thing_done(tmp_path: Path) -> None:
    assert f"echo {autoinstall.INSTALLED} >" in answers(tmp_path)["late-commands"][-1]


@pytest.mark.parametrize("kind", ["early-commands", "late-commands", "error-commands"])
def test_a_shell_understands_every_command(tmp_path: Path, kind: str) -> None:
    for command in answers(tmp_path)[kind]:
        subprocess.run(["sh", "-n"], input=command, text=True, check=True)


def test_files_arrive_as_they_were_written(tmp_path: Path) -> None:
    """Run the commands that write files, with /target moved to a folder."""
    commands = answers(tmp_path, '[image]\nhostname = "box"\n')["late-commands"]
    target = run_on_target(tmp_path, [one for one in commands if "cat >/target" in one])
    assert (target / "etc/hostname").read_text() == "box\n"
    assert "\n127.0.1.1 box\n" in (target / "etc/hosts").read_text()
    assert yaml.safe_load((target / "etc/netplan/10-cube.yaml").read_text())["network"]
    cloud = yaml.safe_load((target / "etc/cloud/cloud.cfg.d/99-cube.cfg").read_text())
    assert cloud["datasource_list"] == ["NoCloud", "None"]
    grub = (target / "etc/default/grub.d/99-cube.cfg").read_text()
    assert 'GRUB_DEVICE="/dev/mapper/ubuntu--vg-ubuntu--lv"\n' in grub


def test_the_root_is_named_by_its_label(tmp_path: Path) -> None:
    fstab = tmp_path / "target/etc/fstab"
    fstab.parent.mkdir(parents=True)
    fstab.write_text(
        "# / was on /dev/ubuntu-vg/ubuntu-lv during curtin installation\n"
        "/dev/disk/by-id/dm-uuid-LVM-x / ext4 defaults 0 1\n"
        "/dev/disk/by-uuid/y /boot ext4 defaults 0 1\n"
    )
    commands = answers(tmp_path)["late-commands"]
    run_on_target(tmp_path, [one for one in commands if "/target/etc/fstab" in one])
    assert fstab.read_text().splitlines() == [
        "# / was on /dev/ubuntu-vg/ubuntu-lv during curtin installation",
        "LABEL=cube-root / ext4 defaults 0 1",
        "/dev/disk/by-uuid/y /boot ext4 defaults 0 1",
    ]


SCHEMA = {"type": "object", "properties": {"version": {"type": "integer", "maximum": 1}}}


def test_the_installers_own_schema_is_used_where_there_is_a_copy(tmp_path: Path) -> None:
    schema = tmp_path / "autoinstall-schema.json"
    schema.write_text(json.dumps(SCHEMA))
    assert autoinstall.check_schema(render(tmp_path), schema) == []
    wrong = "#cloud-config\nautoinstall: {version: 2}\n"
    assert autoinstall.check_schema(wrong, schema) == [
        "$.version: 2 is greater than the maximum of 1"
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Expecting property name"),
        ('{"type": "bogus"}', "$.type: 'bogus' is not valid"),
        ("3", "3 is no object"),
        ("[]", "[] is no object"),
        ('{"$ref": "#/definitions/none"}', "/definitions/none"),
    ],
)
def test_a_file_that_is_no_schema_is_told(tmp_path: Path, text: str, why: str) -> None:
    schema = tmp_path / "autoinstall-schema.json"
    schema.write_text(text)
    (problem,) = autoinstall.check_schema(render(tmp_path), schema)
    assert problem.startswith(f"{schema}: not a JSON schema: ")
    assert why in problem


def test_a_copy_of_the_schema_that_is_not_there_is_told(tmp_path: Path) -> None:
    text = f'[os."ubuntu-24.04"]\niso_url = "http://x/y"\niso_sha256 = "{"0" * 64}"\n'
    with pytest.raises(SpecError) as caught:
        spec.load_text(text + 'autoinstall_schema = "absent.json"\n', tmp_path / "cube.toml")
    assert "there is no file" in f"{caught.value.message}{caught.value.details}"
