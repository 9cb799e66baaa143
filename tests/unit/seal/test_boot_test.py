import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cube.config import load_text
from cube.machines import Endpoint
from cube.machines.qemu import firmware
from cube.runtime import run
from cube.runtime.errors import ProofError
from cube.seal import boot_test, clones
from cube.seal.clones import GROW_BYTES, Seen

ANSWER = """\
state=running
failed=
cycles=
machine_id=0123456789abcdef0123456789abcdef
hostname=cube-proof-1
root_bytes=18837569536
secure_boot=SecureBoot enabled
host_key=SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDmTTqn0PXx5rTxVfI
host_key=SHA256:abc+/=
"""
SEEN = clones.parse_look(ANSWER)
OTHER = replace(
    SEEN, machine_id="f" * 32, hostname="cube-proof-2", host_keys=("SHA256:x", "SHA256:y")
)


def test_answer_of_a_clone_is_read() -> None:
    assert (
        Seen(
            state="running",
            failed="",
            cycles="",
            machine_id="0123456789abcdef0123456789abcdef",
            hostname="cube-proof-1",
            root_bytes=18837569536,
            secure_boot="SecureBoot enabled",
            host_keys=("SHA256:abc+/=", "SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDmTTqn0PXx5rTxVfI"),
        )
        == SEEN
    )


def test_question_to_a_clone_is_shell_without_bashisms() -> None:
    subprocess.run(["sh", "-n", "-c", clones.LOOK], check=True)


@pytest.mark.parametrize(
    "missing",
    ["state", "failed", "cycles", "machine_id", "hostname", "root_bytes", "secure_boot"],
)
def test_answer_that_lacks_a_fact_is_refused(missing: str) -> None:
    text = "".join(line for line in ANSWER.splitlines(True) if not line.startswith(missing))
    with pytest.raises(ProofError, match=missing):
        clones.parse_look(text)


def test_answer_without_a_size_is_refused() -> None:
    with pytest.raises(ProofError, match="lacks"):
        clones.parse_look(ANSWER.replace("18837569536", ""))


def test_clones_that_differ_pass() -> None:
    clones.refuse_likeness([SEEN, OTHER])


ALIKE: dict[str, tuple[dict[str, Any], str]] = {
    "machine id": ({"machine_id": SEEN.machine_id}, "machine_id of their own: '0123.*and '0123"),
    "no machine id": ({"machine_id": ""}, "machine_id of their own: '0123.*and ''"),
    "host name": ({"hostname": "cube-proof-1"}, "hostname"),
    "one host key": ({"host_keys": (SEEN.host_keys[0], "SHA256:z")}, "host keys"),
    "no host key": ({"host_keys": ()}, "host keys"),
}


@pytest.mark.parametrize("case", ALIKE)
def test_clones_that_are_alike_are_refused(case: str) -> None:
    changes, words = ALIKE[case]
    with pytest.raises(ProofError, match=words):
        clones.refuse_likeness([SEEN, replace(OTHER, **changes)])


def test_root_that_grew_passes() -> None:
    assert clones.expect_grown("one", 18 * 10**9, 18 * 10**9 - GROW_BYTES) == GROW_BYTES


@pytest.mark.parametrize("grown", [0, GROW_BYTES // 2, -1])
def test_root_that_did_not_grow_is_refused_with_both_sizes(grown: int) -> None:
    with pytest.raises(ProofError, match=rf"18000000000 bytes .* {18 * 10**9 + grown} on"):
        clones.expect_grown("one", 18 * 10**9 + grown, 18 * 10**9)


def test_host_name_that_is_not_the_seeds_is_refused() -> None:
    with pytest.raises(ProofError, match="cube-proof-1: the clone's host name is localhost"):
        clones.expect_name("cube-proof-1", "localhost")


def test_clone_that_comes_back_as_itself_passes() -> None:
    clones.expect_same("one", SEEN, SEEN)


@pytest.mark.parametrize(
    "changes",
    [
        {"machine_id": "f" * 32},
        {"host_keys": ()},
        {"hostname": "x"},
        {"root_bytes": 1},
        {"secure_boot": "SecureBoot disabled"},
    ],
)
def test_clone_that_comes_back_as_another_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ProofError, match=f"changed {next(iter(changes))}"):
        clones.expect_same("one", SEEN, replace(SEEN, **changes))


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    return Endpoint(
        host="127.0.0.1",
        port=22,
        user="cube-build",
        key_file=tmp_path / "key",
        known_hosts=tmp_path / "known_hosts",
    )


def answers(monkeypatch: pytest.MonkeyPatch, returncode: int, stderr: str) -> None:
    done = run.Completed(returncode=returncode, stdout="", stderr=stderr)
    monkeypatch.setattr(run, "run", lambda *_, **__: done)


def test_refused_build_key_passes(monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint) -> None:
    answers(monkeypatch, 255, "cube-build@127.0.0.1: Permission denied (publickey).\n")
    clones.refuse_build_key(endpoint)


@pytest.mark.parametrize("code", [0, 1, 254])
def test_build_key_that_lets_in_is_refused(
    monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint, code: int
) -> None:
    answers(monkeypatch, code, "")
    with pytest.raises(ProofError, match="still lets in as cube-build"):
        clones.refuse_build_key(endpoint)


@pytest.mark.parametrize(
    "stderr", ["ssh: connect to host 127.0.0.1 port 1: Connection refused", ""]
)
def test_attempt_that_never_came_to_the_key_proves_nothing(
    monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint, stderr: str
) -> None:
    answers(monkeypatch, 255, stderr)
    with pytest.raises(ProofError, match="could not be tried"):
        clones.refuse_build_key(endpoint)


@pytest.mark.parametrize(("there", "expected"), [(True, "secure-boot"), (False, "uefi")])
def test_second_clone_boots_with_secure_boot_where_it_can(
    monkeypatch: pytest.MonkeyPatch, there: bool, expected: str
) -> None:
    monkeypatch.setattr(firmware, "has_secure_boot", lambda: there)
    assert [plan.firmware for plan in boot_test.plans()] == ["bios", expected]


def test_clones_have_identities_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(firmware, "has_secure_boot", lambda: False)
    request = boot_test.ProofRequest(
        artifact=tmp_path / "a.qcow2",
        root_bytes=1,
        build_key=tmp_path / "build.key",
        spec=load_text('[admin]\nuser = "ada"\n', tmp_path / "cube.toml"),
        work=tmp_path,
        results=tmp_path,
        wanted=(),
    )
    (tmp_path / "admin.key.pub").write_text("ssh-ed25519 AAAA cube\n")
    one, other = (
        boot_test.machine_request(request, plan, tmp_path / "o") for plan in boot_test.plans()
    )
    assert one.seed is not None
    assert other.seed is not None
    assert (one.firmware, other.firmware) == ("bios", "uefi")
    assert one.seed.instance_id != other.seed.instance_id
    assert one.seed.hostname != other.seed.hostname
    assert {one.seed.user, other.seed.user} == {"ada"}
    assert one.seed.public_key == "ssh-ed25519 AAAA cube"
    assert not one.wait
