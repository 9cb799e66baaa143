"""Tests of cube.hosts.passport: what certifies, and what a signature holds."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cube.hosts.passport import certify, signature, unit
from cube.hosts.passport.certify import Certified
from cube.hosts.passport.unit import Unit
from cube.hosts.record import Entry, Record
from cube.hosts.validation import result
from cube.hosts.validation.catalog import NAMES
from cube.hosts.validation.result import Finding, SuiteResult
from cube.hosts.validation.validation import Validation
from cube.runtime import run
from cube.runtime.check_report import Check, CheckReport, Evidence, Outcome
from cube.runtime.errors import PassportError

KEY = "a" * 64
MANIFEST: dict[str, Any] = {
    "key": "f" * 64,
    "image": {"name": "vault-cube", "version": "1.2.3", "built_at": "2026-01-01T00:00:00Z"},
    "artifact": {"sha256": "b" * 64},
    "layers": [
        {"number": 1, "status": "applied", "key": KEY},
        {"number": 2, "status": "skipped", "key": None},
    ],
    "checks": {
        "results": [
            {"id": "gpu", "outcome": "deferred"},
            {"id": "base", "outcome": "passed"},
        ]
    },
}


def carrying(key: str) -> Unit:
    entry = Entry(layer=1, applied="", recipe="", roles=("common",), key=key)
    return Unit(firmware={"product_serial": "C-7"}, image={}, layers=Record(entries=(entry,)))


def check(name: str, outcome: Outcome = "passed", evidence: Evidence = "hardware") -> Check:
    return Check(id=name, title=name, group="layer1", outcome=outcome, evidence=evidence)


def report(*checks: Check) -> CheckReport:
    return CheckReport(checks=checks)


def suites(*changed: SuiteResult, quick: bool = False) -> Validation:
    known = {one.suite: one for one in changed}
    return Validation(
        box="desk1",
        began=datetime(2026, 1, 1, tzinfo=UTC),
        quick=quick,
        results=tuple(known.get(name, suite(name)) for name in NAMES),
    )


def suite(
    name: str,
    outcome: result.Outcome = "pass",
    evidence: result.Evidence = "hardware",
    detail: str = "",
) -> SuiteResult:
    status: result.Status = "SKIP" if detail else "OK" if outcome == "pass" else "FAIL"
    finding = Finding(name="one", status=status, detail=detail or "seen")
    return SuiteResult(suite=name, outcome=outcome, evidence=evidence, findings=(finding,))


def test_its_own_image_is_accepted() -> None:
    certify.refuse_other_image("desk1", carrying(KEY), MANIFEST)


@pytest.mark.parametrize("key", ["c" * 64, ""])
def test_another_image_is_refused(key: str) -> None:
    with pytest.raises(PassportError, match="does not carry vault-cube"):
        certify.refuse_other_image("desk1", carrying(key), MANIFEST)


def test_everything_settled_on_hardware_is_accepted() -> None:
    certify.refuse_unsettled("desk1", report(check("gpu"), check("base")), MANIFEST)
    certify.refuse_suites(suites())


@pytest.mark.parametrize(
    ("checks", "why"),
    [
        (report(check("base")), "still open: gpu"),
        (report(check("gpu", "deferred"), check("base")), "still open: gpu"),
        (report(check("gpu"), check("new", "deferred")), "still open: new"),
        (report(check("gpu", evidence="vm")), "judged on vm"),
        (report(check("gpu"), check("base", evidence="simulated")), "judged on simulated"),
    ],
)
def test_what_hardware_has_not_settled_is_refused(checks: CheckReport, why: str) -> None:
    with pytest.raises(PassportError, match=why):
        certify.refuse_unsettled("desk1", checks, MANIFEST)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (suites(suite("vllm", "fail")), "vllm failed"),
        (suites(suite("vllm", "error")), "vllm error"),
        (suites(suite("docker", "not_run", "none")), "docker not run"),
        (suites(suite("pytorch", evidence="cpu")), "pytorch ran on cpu"),
        (suites(suite("gpus", evidence="simulated")), "gpus ran on simulated"),
        (suites(suite("vllm", detail="deferred: random weights")), "put off one"),
        (suites(quick=True), "short forms"),
    ],
)
def test_suites_that_prove_less_are_refused(found: Validation, why: str) -> None:
    with pytest.raises(PassportError, match=why):
        certify.refuse_suites(found)


def test_an_exception_may_fail_on_hardware_only() -> None:
    certify.refuse_suites(suites(suite("tensorflow", "fail")), ("tensorflow",))
    for one in (suite("tensorflow", "error"), suite("tensorflow", "fail", "simulated")):
        with pytest.raises(PassportError, match="tensorflow"):
            certify.refuse_suites(suites(one), ("tensorflow",))


def test_a_passport_names_its_exceptions() -> None:
    found = Certified(
        unit=carrying(KEY),
        checks=report(check("gpu")),
        suites=suites(suite("tensorflow", "fail")),
        exceptions=("tensorflow",),
    )

    data = certify.compose(MANIFEST, found)

    assert data["verdict"] == "certified with exceptions"
    assert data["exceptions"] == ["tensorflow"]
    assert data["image"]["sha256"] == "b" * 64
    assert data["checks"]["settled"] == ["gpu"]
    assert data["unit"] == {"product_serial": "C-7"}
    json.dumps(data)


def make_key(path: Path) -> Path:
    run.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path])
    return path


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path]:
    document, key = tmp_path / "passport.json", make_key(tmp_path / "key")
    document.write_text('{"verdict": "certified"}\n')
    signature.sign(document, key)
    return document, Path(f"{key}.pub")


def test_a_signature_holds(signed: tuple[Path, Path]) -> None:
    document, public = signed

    assert "Good" in signature.verify(document, public_key=public, signers=None)


def test_a_signer_is_named(signed: tuple[Path, Path], tmp_path: Path) -> None:
    document, public = signed
    (tmp_path / "signers").write_text(f"anna@example.org {public.read_text()}")

    said = signature.verify(document, public_key=None, signers=tmp_path / "signers")

    assert "anna@example.org" in said


def test_a_changed_passport_is_refused(signed: tuple[Path, Path]) -> None:
    document, public = signed
    document.write_text('{"verdict": "certified "}\n')

    with pytest.raises(PassportError, match="is not what signer signed"):
        signature.verify(document, public_key=public, signers=None)


def test_line_ends_count(signed: tuple[Path, Path]) -> None:
    document, public = signed
    document.write_bytes(document.read_bytes().replace(b"\n", b"\r\n"))

    with pytest.raises(PassportError, match="is not what signer signed"):
        signature.verify(document, public_key=public, signers=None)


def test_bytes_that_are_no_text_can_be_signed(tmp_path: Path) -> None:
    document, key = tmp_path / "passport.json", make_key(tmp_path / "key")
    document.write_bytes(b"\xff\x00\r\r\n")
    signature.sign(document, key)

    assert "Good" in signature.verify(document, public_key=Path(f"{key}.pub"), signers=None)


OTHER = 'git@example.org namespaces="git" '
OURS = f'anna@example.org namespaces="{signature.NAMESPACE}" '
EXPIRED = 'old@example.org valid-before="20200101" '


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ([OTHER, OURS], "anna@example.org"),
        ([EXPIRED, OTHER, OURS], "anna@example.org"),
        ([OTHER, "anna@example.org "], "anna@example.org"),
        (["# a comment", "", "nonsense", OURS], "anna@example.org"),
        (['"Anna Berg" '], "Anna Berg"),
        (['"Anna Berg,anna@example.org" '], "Anna Berg"),
        (["*@example.org "], "*@example.org"),
        (["!eve@example.org,anna@example.org "], "anna@example.org"),
        (["änna@example.org "], "nna@example.org"),
    ],
)
def test_every_line_of_the_signers_is_tried(
    signed: tuple[Path, Path], tmp_path: Path, lines: list[str], name: str
) -> None:
    document, public = signed
    key = " ".join(public.read_text().split()[:2])
    text = "\n".join(f"{line}{key}" if line.endswith(" ") else line for line in lines)
    (tmp_path / "signers").write_text(text)

    assert name in signature.verify(document, public_key=None, signers=tmp_path / "signers")


def test_a_key_that_is_trusted_for_something_else_is_told(
    signed: tuple[Path, Path], tmp_path: Path
) -> None:
    document, public = signed
    (tmp_path / "signers").write_text(f"{OTHER}{public.read_text()}")

    with pytest.raises(PassportError, match="not trusted for passports") as caught:
        signature.verify(document, public_key=None, signers=tmp_path / "signers")
    assert f'namespaces="{signature.NAMESPACE}"' in caught.value.hint


def test_a_key_that_was_trusted_once_is_told(signed: tuple[Path, Path], tmp_path: Path) -> None:
    document, public = signed
    (tmp_path / "signers").write_text(f"{EXPIRED}{public.read_text()}")

    with pytest.raises(PassportError, match="no line that counts today has its key"):
        signature.verify(document, public_key=None, signers=tmp_path / "signers")


def test_another_key_is_not_trusted(signed: tuple[Path, Path], tmp_path: Path) -> None:
    document, _ = signed
    other = make_key(tmp_path / "other")

    with pytest.raises(PassportError, match="not by a key that is trusted"):
        signature.verify(document, public_key=Path(f"{other}.pub"), signers=None)


def test_a_missing_signature_is_named(tmp_path: Path) -> None:
    document = tmp_path / "passport.json"
    document.write_text("{}")

    with pytest.raises(PassportError, match=r"there is no .*passport\.json\.sig"):
        signature.verify(document, public_key=None, signers=None)


def test_a_key_that_does_not_sign_is_named(tmp_path: Path) -> None:
    document, key = tmp_path / "passport.json", tmp_path / "key"
    document.write_text("{}")
    key.write_text("no key")

    with pytest.raises(PassportError, match="does not sign"):
        signature.sign(document, key)


def test_firmware_that_is_not_filled_in_is_left_out() -> None:
    text = "sys_vendor\tVault\nproduct_serial\t\nboard_serial\tB 12\n"

    assert unit.parse_firmware(text) == {"sys_vendor": "Vault", "board_serial": "B 12"}


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense", '{"name": "a"}'])
def test_an_image_that_says_nothing_is_unknown(text: str) -> None:
    assert unit.parse_image(text) == {}
