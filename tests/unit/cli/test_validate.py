"""`cube certify` and `cube passport verify` by their command lines; the judging is played."""

import json
from pathlib import Path
from typing import Any

import pytest

from cube.cli import command_line
from cube.hosts import remote
from cube.hosts.passport import certify, signature
from cube.hosts.passport.certify import Certified
from cube.hosts.passport.unit import Unit
from cube.hosts.record import Entry, Record
from cube.hosts.target import Box
from cube.hosts.validation.validation import Validation
from cube.machines import Endpoint
from cube.runtime.check_report import CheckReport
from cube.runtime.errors import CubeError, HostError, PassportError, SealError
from tests.unit.hosts.passport.test_certify import make_key, suites

GOLDEN = Path(__file__).parents[2] / "golden/manifest.json"


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    file = tmp_path / "cube.toml"
    file.write_text(
        '[hosts.desk1]\naddress = "192.0.2.1"\nuser = "anna"\nkey = "signing"\n'
        '[build]\ndir = "build"\n'
    )
    make_key(tmp_path / "signing")
    return file


@pytest.fixture
def certified(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every box is certified; what was asked for is kept."""
    asked: list[Any] = []

    def play(spec: Any, box: Box, image: Any, wanted: Any, exceptions: Any) -> Certified:
        asked.append((box.name, wanted, exceptions))
        entry = Entry(layer=1, applied="2026-01-01T00:00:00Z", recipe="", roles=(), key="a" * 64)
        unit = Unit(firmware={"product_serial": "C-7"}, image={}, layers=Record(entries=(entry,)))
        found: Validation = suites()
        return Certified(unit=unit, checks=CheckReport(checks=()), suites=found)

    endpoint = Endpoint(
        host="192.0.2.1", port=22, user="anna", key_file=Path("/k"), known_hosts=Path("/h")
    )
    monkeypatch.setattr(certify, "certify", play)
    monkeypatch.setattr(remote, "reach", lambda _: Box(name="desk1", endpoint=endpoint))
    return asked


def certify_args(spec_file: Path, *more: str) -> list[str]:
    return [
        "certify",
        "desk1",
        "--spec",
        str(spec_file),
        "--key",
        str(spec_file.parent / "signing"),
        "--manifest",
        str(GOLDEN),
        "--plain",
        *more,
    ]


def test_a_unit_gets_a_passport_that_verifies(
    spec_file: Path, certified: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code = command_line.main(certify_args(spec_file, "--model", "/m", "--except", "tensorflow"))

    assert code == 0
    ((name, wanted, exceptions),) = certified
    assert (name, wanted.model, wanted.quick, exceptions) == ("desk1", "/m", False, ("tensorflow",))
    document = spec_file.parent / "build/boxes/desk1/passport.json"
    data = json.loads(document.read_text())
    assert (data["verdict"], data["unit"]) == ("certified", {"product_serial": "C-7"})
    assert data["image"]["sha256"] == json.loads(GOLDEN.read_text())["artifact"]["sha256"]
    capsys.readouterr()
    verify = ["passport", "verify", str(document), "--spec", str(spec_file)]
    assert command_line.main([*verify, "--key", str(spec_file.parent / "signing.pub")]) == 0
    assert "desk1 (C-7): certified" in capsys.readouterr().out
    document.write_text(document.read_text().replace("C-7", "C-8"))
    assert (
        command_line.main([*verify, "--key", str(spec_file.parent / "signing.pub")])
        == PassportError.exit_code
    )


def test_a_key_that_is_not_there_is_told_before_anything_runs(
    spec_file: Path, certified: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = certify_args(spec_file)
    argv[argv.index("--key") + 1] = str(spec_file.parent / "none")

    assert command_line.main(argv) == PassportError.exit_code
    assert certified == []
    assert "there is no key" in capsys.readouterr().err


def certify_with(spec_file: Path, option: str, value: Path) -> list[str]:
    argv = certify_args(spec_file)
    argv[argv.index(option) + 1] = str(value)
    return argv


@pytest.mark.parametrize(
    ("option", "name", "told"),
    [
        ("--key", ".", (PassportError, "is a folder, no key")),
        ("--key", "cube.toml", (PassportError, "does not sign")),
        ("--manifest", ".", (SealError, "Is a directory")),
        ("--manifest", "none.json", (SealError, "No such file")),
        ("--manifest", "cube.toml", (SealError, "cannot be read as a manifest")),
    ],
)
@pytest.mark.usefixtures("certified")
def test_what_is_wrong_is_told_before_anything_runs_with_a_remedy(
    spec_file: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    name: str,
    told: tuple[type[CubeError], str],
) -> None:
    code = command_line.main(certify_with(spec_file, option, spec_file.parent / name))
    assert code == told[0].exit_code
    err = capsys.readouterr().err
    assert told[1] in err
    assert "what to do: " in err
    assert not (spec_file.parent / "build/boxes").exists()


def test_without_a_build_the_manifest_is_asked_for(
    spec_file: Path, certified: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = certify_args(spec_file)
    at = argv.index("--manifest")
    assert command_line.main([*argv[:at], *argv[at + 2 :]]) == PassportError.exit_code
    err = capsys.readouterr().err
    assert "no image was built here" in err
    assert "--manifest FILE" in err
    assert certified == []


def test_a_place_that_takes_no_passport_is_told_before_anything_runs(
    spec_file: Path, certified: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (spec_file.parent / "build").write_text("a file")
    assert command_line.main(certify_args(spec_file)) == HostError.exit_code
    err = capsys.readouterr().err
    assert "cannot be written" in err
    assert "set build.dir in cube.toml to another folder" in err
    assert certified == []


@pytest.fixture
def passport(spec_file: Path, certified: list[Any], capsys: pytest.CaptureFixture[str]) -> Path:
    """A signed passport and its key in a folder without a cube.toml."""
    assert command_line.main(certify_args(spec_file)) == 0
    made = spec_file.parent / "build/boxes/desk1/passport.json"
    far = spec_file.parent / "far"
    far.mkdir()
    for file in (made, signature.file_of(made), spec_file.parent / "signing.pub"):
        file.rename(far / file.name)
    capsys.readouterr()
    return far / "passport.json"


@pytest.mark.parametrize("view", ["--plain", "--json"])
def test_a_recipient_needs_no_cube_toml(
    passport: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], view: str
) -> None:
    monkeypatch.chdir(passport.parent)
    assert (
        command_line.main(["passport", "verify", passport.name, "--key", "signing.pub", view]) == 0
    )
    out = capsys.readouterr().out
    assert "C-7" in out
    assert "certified" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["none.json", "--key", "signing.pub"], "there is no none.json"),
        ([".", "--key", "signing.pub"], ". is a folder"),
        (["passport.json", "--key", "none.pub"], "there is no none.pub"),
        (["passport.json", "--key", "."], ". is a folder"),
        (["passport.json", "--key", "passport.json"], "public key"),
        (["passport.json", "--signers", "none"], "there is no none"),
        (["passport.json", "--signers", "."], ". is a folder"),
        (["passport.json", "--signers", "passport.json"], "not by a key that is trusted"),
        (["signing.pub", "--key", "signing.pub"], "there is no signing.pub.sig"),
    ],
)
def test_what_a_recipient_gets_wrong_has_a_remedy(
    passport: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(passport.parent)
    assert command_line.main(["passport", "verify", *words, "--plain"]) == PassportError.exit_code
    err = capsys.readouterr().err
    assert told in err
    assert "what to do: " in err


@pytest.mark.parametrize("text", ["[]", "3", "{}", "no JSON", '{"image": 1}', "[" * 9999, "\xff"])
def test_what_is_signed_but_no_passport_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    key, document = make_key(tmp_path / "key"), tmp_path / "passport.json"
    document.write_bytes(text.encode("latin-1"))
    signature.sign(document, key)
    words = ["passport", "verify", str(document), "--key", f"{key}.pub", "--plain"]
    assert command_line.main(words) == PassportError.exit_code
    assert "it is signed, but no passport" in capsys.readouterr().err
