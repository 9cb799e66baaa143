"""`cube certify` and `cube passport verify` by their command lines; the judging is played."""

import json
from pathlib import Path
from typing import Any

import pytest

from cube import cli
from cube.box import login
from cube.box.host import Box
from cube.box.record import Entry, Record
from cube.errors import PassportError
from cube.findings import CheckReport
from cube.machines import Endpoint
from cube.passport import certify
from cube.passport.certify import Certified
from cube.passport.unit import Unit
from cube.suites.validation import Validation
from tests.unit.suites.test_passport import make_key, suites

GOLDEN = Path(__file__).parents[2] / "golden/manifest.json"


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    file = tmp_path / "cube.toml"
    file.write_text('[hosts.desk1]\naddress = "192.0.2.1"\nuser = "anna"\nkey = "signing"\n'
                    '[build]\ndir = "build"\n')  # fmt: skip
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
    monkeypatch.setattr(login, "reach", lambda _: Box(name="desk1", endpoint=endpoint))
    return asked


def certify_args(spec_file: Path, *more: str) -> list[str]:
    return [
        "certify", "desk1", "--spec", str(spec_file), "--key", str(spec_file.parent / "signing"),
        "--manifest", str(GOLDEN), "--plain", *more,
    ]  # fmt: skip


def test_a_unit_gets_a_passport_that_verifies(
    spec_file: Path, certified: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(certify_args(spec_file, "--model", "/m", "--except", "tensorflow"))

    assert code == 0
    ((name, wanted, exceptions),) = certified
    assert (name, wanted.model, wanted.quick, exceptions) == ("desk1", "/m", False, ("tensorflow",))
    document = spec_file.parent / "build/boxes/desk1/passport.json"
    data = json.loads(document.read_text())
    assert (data["verdict"], data["unit"]) == ("certified", {"product_serial": "C-7"})
    assert data["image"]["sha256"] == json.loads(GOLDEN.read_text())["artifact"]["sha256"]
    capsys.readouterr()
    verify = ["passport", "verify", str(document), "--spec", str(spec_file)]
    assert cli.main([*verify, "--key", str(spec_file.parent / "signing.pub")]) == 0
    assert "desk1 (C-7): certified" in capsys.readouterr().out
    document.write_text(document.read_text().replace("C-7", "C-8"))
    assert (
        cli.main([*verify, "--key", str(spec_file.parent / "signing.pub")])
        == PassportError.exit_code
    )


def test_a_key_that_is_not_there_is_told_before_anything_runs(
    spec_file: Path, certified: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = certify_args(spec_file)
    argv[argv.index("--key") + 1] = str(spec_file.parent / "none")

    assert cli.main(argv) == PassportError.exit_code
    assert certified == []
    assert "there is no key" in capsys.readouterr().err
