"""Ubuntu's unattended installation: our answers, and the installer's own schema."""

import json
from pathlib import Path

import pytest
import yaml

from cube import config
from cube.baseimage.ubuntu import autoinstall
from cube.disks import shape
from cube.runtime.errors import SpecError
from tests.unit.answers import KEY, MIRRORS, answers, render, write

GOLDEN = Path(__file__).parents[3] / "golden"
#: Each golden file: the layout of the root, and the rest of cube.toml.
CASES: dict[str, tuple[shape.Layout, str]] = {
    "lvm": ("lvm", ""),
    "plain": ("plain", ""),
    "lvm-mirrors": ("lvm", MIRRORS),
}


@pytest.mark.parametrize("name", CASES)
def test_our_answers_are_the_golden_ones(request: pytest.FixtureRequest, name: str) -> None:
    text = render(*CASES[name])
    golden = GOLDEN / f"autoinstall-{name}.yaml"
    if request.config.getoption("--regenerate-golden", default=False):
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        MIRRORS,
        '[network]\napt_security_mirror = "http://mirror/security"\n',
        '[image]\nlocale = "de_DE.UTF-8"\ntimezone = "Europe/Berlin"\nhostname = "box"\n',
        '[image]\nswap = "8 GiB"\n',
        '[admin]\nuser = "someone"\n',
    ],
)
@pytest.mark.parametrize("layout", ["lvm", "plain"])
def test_our_answers_are_right(layout: shape.Layout, text: str) -> None:
    assert autoinstall.check_user_data(render(layout, text)) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "first line"),
        ("autoinstall:\n  version: 1\n", "first line"),
        ("#cloud-config\nautoinstall: [", "not valid YAML"),
        ("#cloud-config\nversion: 1\n", "autoinstall: missing"),
        ("#cloud-config\n- autoinstall\n", "top: write a mapping"),
        ("#cloud-config\n", "top: write a mapping"),
    ],
)
def test_a_file_that_is_none_is_told(text: str, expected: str) -> None:
    assert expected in "\n".join(autoinstall.check_user_data(text))


def test_another_key_beside_the_answers_is_told() -> None:
    text = write(answers()) + "users: []\n"
    (problem,) = autoinstall.check_user_data(text)
    assert problem.startswith("users: not accepted: ")


def test_the_key_is_let_in_and_no_password_is_set() -> None:
    text = render()
    (user,) = yaml.safe_load(text)["autoinstall"]["user-data"]["users"]
    assert user["ssh_authorized_keys"] == [KEY]
    assert user["lock_passwd"] is True
    assert "\n  identity:" not in text
    assert "passwd:" not in text.replace("lock_passwd:", "")


def test_the_mirror_and_the_proxy_are_used() -> None:
    found = answers(text=MIRRORS)
    mirror = "http://mirror.example/ubuntu/"
    assert found["proxy"] == "http://proxy.example:3128/"
    assert found["apt"]["mirror-selection"] == {"primary": [{"uri": mirror}]}
    assert found["apt"]["security"] == [{"arches": ["default"], "uri": mirror}]


def test_the_boot_loaders_of_both_firmwares_are_installed() -> None:
    """curtin installs the signed chain, as the installer runs under UEFI."""
    found = answers()["packages"]
    assert {"grub-pc-bin", "grub2-common", "shim-signed", "grub-efi-amd64-signed"} <= set(found)


@pytest.mark.parametrize(("layout", "there"), [("lvm", True), ("plain", False)])
def test_lvm_is_installed_where_it_is_used(layout: shape.Layout, there: bool) -> None:
    assert ("lvm2" in answers(layout)["packages"]) is there


def test_an_early_command_fails_only_under_bios() -> None:
    """A failing one ends the installation; systemctl fails for a unit that is not there."""
    under_uefi, stop_ssh = answers()["early-commands"]
    assert under_uefi.startswith("test -d /sys/firmware/efi || ")
    assert stop_ssh.endswith(" || true")


SCHEMA = {"type": "object", "properties": {"version": {"type": "integer", "maximum": 1}}}


def test_the_installers_own_schema_is_used_where_there_is_a_copy(tmp_path: Path) -> None:
    schema = tmp_path / "autoinstall-schema.json"
    schema.write_text(json.dumps(SCHEMA))
    assert autoinstall.check_schema(render(), schema) == []
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
    (problem,) = autoinstall.check_schema(render(), schema)
    assert problem.startswith(f"{schema}: not a JSON schema: ")
    assert why in problem


def test_a_copy_of_the_schema_that_is_not_there_is_told(tmp_path: Path) -> None:
    text = f'[os."ubuntu-24.04"]\niso_url = "http://x/y"\niso_sha256 = "{"0" * 64}"\n'
    with pytest.raises(SpecError) as caught:
        config.load_text(text + 'autoinstall_schema = "absent.json"\n', tmp_path / "cube.toml")
    assert "there is no file" in f"{caught.value.message}{caught.value.details}"
