import json
import subprocess
from copy import deepcopy
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cube.chain.store.link import LayerRecord
from cube.runtime import run
from cube.runtime.check_report import Check, CheckReport
from cube.runtime.errors import SealError
from cube.seal import image_facts, manifest, provenance
from cube.seal.boot_test import Proof
from cube.seal.clones import Clone
from cube.seal.secure_boot import SecureBootProof

GOLDEN = Path(__file__).parents[2] / "golden" / "manifest.json"

OS_RELEASE = """\
PRETTY_NAME="Debian GNU/Linux 13 (trixie)"
NAME="Debian GNU/Linux"
VERSION_ID="13"
VERSION="13 (trixie)"
VERSION_CODENAME=trixie
DEBIAN_VERSION_FULL=13.2
ID=debian
"""
PACKAGES = """\
ii \tadduser\t3.152
ii \tdocker.io\t26.1.5+dfsg1-9+b9
ii \topenssh-server\t1:10.0p1-7
rc \told-thing\t1.0
ii \tsystemd\t257.9-1~deb13u1
"""
ANSWERS = {
    "cat /etc/os-release": OS_RELEASE,
    "uname -r": "6.12.57+deb13-amd64\n",
    "dpkg --print-architecture": "amd64\n",
    image_facts.LIST_PACKAGES: PACKAGES,
    "python3 --version 2>/dev/null || true": "Python 3.13.5\n",
    "uv --version 2>/dev/null || true": "",
    **{
        f"{image_facts.COMMANDS_OF_NOTE[name]} 2>/dev/null || true": ""
        for name in ("torch", "tensorflow", "vllm")
    },
}


def make_clone(number: int, firmware: Any, again: float | None) -> Clone:
    return Clone(
        name=f"cube-proof-{number}",
        firmware=firmware,
        secure_boot="enabled" if firmware == "secure-boot" else "unsupported",
        hostname=f"cube-proof-{number}",
        machine_id=f"{number}" * 32,
        host_keys=(f"SHA256:{number}abc", f"SHA256:{number}def"),
        disk_bytes=19327352832,
        root_bytes=18837569536,
        grown_bytes=2113929216,
        build_key_refused=True,
        system_state="running",
        boot_seconds=74.20949,
        second_boot_seconds=again,
        checks="97 passed, 2 deferred",
    )


def make_manifest(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "name": "vault-cube",
        "version": "0.1.0",
        "facts": image_facts.detect(ANSWERS.__getitem__),
        "artifact": manifest.Artifact(
            file="vault-cube-debian-13.qcow2",
            sha256="ab" * 32,
            size_bytes=612_000_000,
            unsealed_bytes=2_412_000_000,
            virtual_bytes=17_179_869_184,
        ),
        "key": "f" * 64,
        "links": [
            manifest.ChainLink(
                name="base",
                key="0" * 64,
                refresh="2026-01-31T12:00:00Z",
                created="2026-01-31T12:04:00Z",
                seconds=155.5,
                size_bytes=561_381_376,
                reused=True,
            ),
            manifest.ChainLink(
                name="layer1",
                key="1" * 64,
                refresh="2026-01-31T12:00:00Z",
                created="2026-01-31T12:07:00Z",
                seconds=160.75,
                size_bytes=1_668_546_560,
                reused=False,
            ),
        ],
        "layers": [
            manifest.Layer.of(
                LayerRecord(
                    layer=1,
                    operations=61,
                    changed=58,
                    execs=240,
                    repeat_execs=70,
                    apply_s=92.5,
                    repeat_s=4.25,
                    check_s=31.0,
                    seconds=160.75,
                ),
                key="1" * 64,
                roles=("common", "users"),
            ),
            manifest.Layer.of(
                LayerRecord(layer=2, skipped="no NVIDIA GPU was found"),
                key="2" * 64,
                roles=("nvidia_driver",),
            ),
        ],
        "checks": CheckReport(
            checks=(
                Check(
                    id="checks/layer1/test_users.py::test_admin",
                    title="admin account exists",
                    group="layer1",
                    outcome="passed",
                    evidence="vm",
                    seconds=0.25,
                ),
                Check(
                    id="checks/layer1/test_common.py::test_sensors",
                    title="sensors are read",
                    group="layer1",
                    outcome="deferred",
                    evidence="vm",
                    reason="needs hardware: a virtual machine has no sensors",
                ),
            )
        ),
        "proof": Proof(
            clones=(make_clone(1, "bios", 61.5), make_clone(2, "secure-boot", None)),
            secure_boot=SecureBootProof(proven=True),
            seconds=301.5,
        ),
        "stages": [
            manifest.Stage(number=1, name="Pre-build validation", seconds=12.3456),
            manifest.Stage(number=5, name="Finalization", seconds=420.0),
        ],
        "builder": provenance.Builder(
            cube="0.1.0",
            git=provenance.Commit(commit="0" * 40, dirty=False),
            host=provenance.Host(
                accelerator="tcg", machine="container", cores=2, kernel="6.1.0", os="Debian 12"
            ),
        ),
        "built_at": datetime(2026, 1, 31, 14, 0, 5, tzinfo=timezone(timedelta(hours=1))),
    }
    return manifest.compose(**{**arguments, **changes})


def test_manifest_is_as_the_golden_one(request: pytest.FixtureRequest) -> None:
    text = json.dumps(make_manifest(), indent=2, ensure_ascii=False) + "\n"
    if request.config.getoption("--regenerate-golden", default=False):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_golden_manifest_fits_the_schema() -> None:
    manifest.validate(json.loads(GOLDEN.read_text()))


def test_schema_is_a_schema_and_has_the_version_in_its_id() -> None:
    Draft202012Validator.check_schema(manifest.schema())
    assert manifest.schema()["$id"] == manifest.SCHEMA_ID
    assert manifest.schema()["properties"]["schema"]["const"] == manifest.SCHEMA_ID


def test_a_build_never_certifies() -> None:
    passed = make_manifest()["checks"]["results"][:1]
    data = make_manifest(checks=CheckReport(checks=tuple(Check(**check) for check in passed)))
    assert data["status"] == "built"
    manifest.validate(data)


def test_build_date_is_in_utc() -> None:
    assert make_manifest()["image"]["built_at"] == "2026-01-31T13:00:05Z"


def test_versions_are_those_that_were_detected() -> None:
    assert make_manifest()["versions"] == {
        "docker": "26.1.5+dfsg1-9+b9",
        "openssh": "1:10.0p1-7",
        "python": "3.13.5",
        "systemd": "257.9-1~deb13u1",
    }


def test_removed_packages_are_not_listed() -> None:
    assert "old-thing" not in make_manifest()["packages"]


BAD: dict[str, tuple[tuple[str | int, ...], Any, str]] = {
    "unknown key": (("surprise",), 1, "surprise"),
    "certified with deferred checks": (("status",), "certified", "deferred"),
    "failed check": (("checks", "results", 0, "outcome"), "failed", "outcome"),
    "count of failures": (("checks", "failed"), 1, "failed"),
    "nothing passed": (("checks", "passed"), 0, "passed"),
    "deferred without reason": (("checks", "results", 1, "reason"), "", "reason"),
    "short checksum": (("artifact", "sha256"), "ab", "sha256"),
    "path for a file": (("artifact", "file"), "/tmp/x.qcow2", "file"),
    "empty artifact": (("artifact", "size_bytes"), 0, "size_bytes"),
    "one clone": (("proof", "clones"), [], "clones"),
    "build key let in": (("proof", "clones", 0, "build_key_refused"), False, "build_key"),
    "degraded system": (("proof", "clones", 1, "system_state"), "degraded", "system_state"),
    "secure boot that no clone showed": (
        ("proof", "clones", 1, "secure_boot"),
        "disabled",
        "clones",
    ),
    "secure boot unproven without a reason": (("proof", "secure_boot", "proven"), False, "reason"),
    "secure boot proven with a reason not to": (("proof", "secure_boot", "reason"), "x", "reason"),
    "state of secure boot that nobody knows": (
        ("proof", "clones", 0, "secure_boot"),
        "on",
        "secure",
    ),
    "skipped with a key": (("layers", 1, "key"), "1" * 64, "key"),
    "skipped without a reason": (("layers", 1, "reason"), "", "reason"),
    "applied without a key": (("layers", 0, "key"), None, "key"),
    "local time": (("image", "built_at"), "2026-01-31T13:00:05+01:00", "built_at"),
    "no versions": (("versions",), {}, "versions"),
    "short commit": (("builder", "git", "commit"), "0000", "git"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_manifest_is_refused(tmp_path: Path, name: str) -> None:
    where, value, word = BAD[name]
    data = deepcopy(make_manifest())
    place: Any = data
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    with pytest.raises(SealError) as caught:
        manifest.write(tmp_path / "manifest.json", data)
    assert word in caught.value.details
    assert list(tmp_path.iterdir()) == []


def test_manifest_without_secure_boot_says_why() -> None:
    data = make_manifest(
        proof=Proof(
            clones=(make_clone(1, "bios", 61.5), make_clone(2, "uefi", None)),
            secure_boot=SecureBootProof(proven=False, reason="no firmware"),
            seconds=301.5,
        )
    )
    manifest.validate(data)
    assert data["proof"]["secure_boot"] == {"proven": False, "reason": "no firmware"}


def test_manifest_is_written_whole_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text("old")
    manifest.write(path, make_manifest())
    assert manifest.read(path) == make_manifest()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "[1", "null", "{}"])
def test_file_that_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(SealError):
        manifest.read(tmp_path / "manifest.json")


def test_os_release_without_a_version_is_refused() -> None:
    with pytest.raises(SealError, match="VERSION_ID"):
        image_facts.parse_os_release("ID=debian\n")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("uv 0.9.7 (abc 2025-10-30)", "0.9.7"),
        ("Docker version 26.1.5+dfsg1, build a72d7cd", "26.1.5+dfsg1"),
        ("Python 3.13.5", "3.13.5"),
        ("", ""),
        ("no such thing", ""),
    ],
)
def test_version_is_found_in_what_programs_print(text: str, version: str) -> None:
    assert image_facts.parse_version(text) == version


def test_commit_is_absent_outside_a_checkout(tmp_path: Path) -> None:
    assert provenance.read_commit(tmp_path) is None


def test_commit_of_a_checkout_tells_changes(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        run.run(["git", "-C", tmp_path, *who, *words])

    git("init", "-q")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-q", "-m", "Add a file")
    clean = provenance.read_commit(tmp_path)
    (tmp_path / "file").write_text("2")
    changed = provenance.read_commit(tmp_path)
    assert clean is not None
    assert changed is not None
    assert (len(clean.commit), clean.dirty, changed.dirty) == (40, False, True)


def test_a_framework_says_its_version(tmp_path: Path) -> None:
    """Other distributions whose names begin alike are beside it."""
    packages = tmp_path / "opt/cube/venvs/tensorflow/lib/python3.13/site-packages"
    for name, version in (("tensorflow_cpu", "2.21.0"), ("tensorflow_datasets", "4.9.1")):
        folder = packages / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    command = image_facts.COMMANDS_OF_NOTE["tensorflow"].replace("/opt/", f"{tmp_path}/opt/")
    shown = subprocess.run(
        ["sh", "-c", f"{command} 2>/dev/null || true"], capture_output=True, text=True, check=True
    )
    assert image_facts.parse_version(shown.stdout) == "2.21.0"
