"""Role frameworks: locks, kernels, scripts. Its commands are in tests/golden/layer4-*.txt."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from pyinfra.api.exceptions import DeployError

from deploy.facts.venv import Locks
from deploy.operations.uv import BRIEF, REHASHED, SPARE_MIB, space_script, sync_script, unlike
from deploy.roles.frameworks import Frameworks, read_lock, read_locks, render_kernel

LOCK = (
    "# a header\nnumpy==2.4.6 \\\n    --hash=sha256:00\nipykernel==7.4.0 \\\n    --hash=sha256:01\n"
)


def test_locks_are_read_in_the_order_of_the_frameworks(tmp_path: Path) -> None:
    files = [tmp_path / "b.txt", tmp_path / "a.txt"]
    for file in files:
        file.write_text(LOCK.replace("a header", file.name))
    data = Frameworks(
        frameworks=("b", "a"),
        framework_locks=tuple(map(str, files)),
        frameworks_mib=1,
        jupyter=True,
    )
    assert [(name, text.splitlines()[0]) for name, text in read_locks(data).items()] == [
        ("b", "# b.txt"),
        ("a", "# a.txt"),
    ]


@pytest.mark.parametrize(
    ("text", "jupyter", "reason"),
    [
        (None, False, "No such file or directory"),
        ("", False, "locks no package by its hash"),
        ("numpy==2.4.6\n", False, "locks no package by its hash"),
        ("numpy==2.4.6 --hash=sha256:00\n", True, "has no ipykernel"),
    ],
)
def test_what_is_no_lock_is_refused(
    tmp_path: Path, text: str | None, jupyter: bool, reason: str
) -> None:
    file = tmp_path / "pytorch.txt"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DeployError) as caught:
        read_lock("pytorch", file, jupyter=jupyter)
    assert reason in str(caught.value)
    assert "cube stack lock" in str(caught.value)


def test_a_kernel_starts_through_the_launcher() -> None:
    kernel = json.loads(render_kernel("vllm"))
    assert kernel["argv"][:4] == ["/usr/local/bin/cube-python", "vllm", "-m", "ipykernel_launcher"]
    assert kernel["argv"][-1] == "{connection_file}"


def test_an_environment_of_another_lock_or_of_none_is_found(tmp_path: Path) -> None:
    venv = tmp_path / "it's a venv"
    venv.mkdir()
    fact = Locks()
    command = fact.command(paths=[str(venv), "/nowhere"])
    assert fact.process(sh(command).stdout.splitlines()) == {}
    (venv / "requirements.txt").write_text(LOCK)
    found = fact.process(sh(command).stdout.splitlines())
    assert found == {str(venv): hashlib.sha256(LOCK.encode()).hexdigest()}
    assert unlike(found, {str(venv): LOCK}) == []
    assert unlike(found, {str(venv): LOCK + "\n", "/nowhere": LOCK}) == [str(venv), "/nowhere"]


def sh(command: str, text: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", "-c", command], input=text, capture_output=True, text=True, check=True
    )


def test_an_environment_that_is_whole_is_changed_and_another_made_anew() -> None:
    changed = sync_script("/opt/cube/venvs/x", whole=True)
    made = sync_script("/opt/cube/venvs/x", whole=False)
    assert (
        " && mv /opt/cube/venvs/x/requirements.txt /opt/cube/venvs/x/requirements.txt.old"
        in changed
    )
    assert " venv " not in changed.partition("pip sync")[0]
    assert " --clear --prompt x /opt/cube/venvs/x && " in made
    for script in (changed, made):
        sh(f"sh -n <<'SCRIPT'\n{script}\nSCRIPT")
        assert script.endswith(
            "&& mv /opt/cube/venvs/x/requirements.txt.new /opt/cube/venvs/x/requirements.txt"
        )


OLD = """\
numpy==2.1.0 ; python_version >= '3.11' \\
    --hash=sha256:aaa \\
    --hash=sha256:bbb
torch==2.13.0 \\
    --hash=sha256:ccc
gone==1.0 \\
    --hash=sha256:ddd
same==1.0 \\
    --hash=sha256:eee
"""


@pytest.mark.parametrize(
    ("new", "again"),
    [
        (OLD, []),
        (OLD.replace("aaa", "fff"), ["numpy"]),
        (OLD.replace("    --hash=sha256:aaa \\\n", ""), ["numpy"]),
        (OLD.replace("ccc", "ggg").replace("eee", "hhh"), ["same", "torch"]),
        (OLD.replace("torch==2.13.0", "torch==2.14.0").replace("ccc", "ggg"), []),
        (OLD.replace("gone", "new"), []),
    ],
)
def test_a_package_with_other_hashes_is_installed_again(
    new: str, again: list[str], tmp_path: Path
) -> None:
    """uv looks at hashes of what it installs only."""
    old_file, new_file = tmp_path / "old", tmp_path / "new"
    old_file.write_text(OLD)
    new_file.write_text(new)
    words = sh(f"awk '{REHASHED}' {old_file} {new_file}").stdout.split()
    assert words[::2] == ["--reinstall-package"] * len(again)
    assert sorted(words[1::2]) == again


def test_a_new_environment_has_nothing_to_install_again(tmp_path: Path) -> None:
    old_file, new_file = tmp_path / "old", tmp_path / "new"
    old_file.touch()
    new_file.write_text(OLD)
    assert sh(f"awk '{REHASHED}' {old_file} {new_file}").stdout == ""


#: Free are 5000 MiB; what is there already takes 300.
TOOLS = {
    "df": "printf ' Avail\\n5000M\\n'",
    "du": "printf '100\\t/a\\n200\\t/b\\n300\\ttotal\\n'",
}


@pytest.mark.parametrize(
    ("mib", "missing"),
    [(1000, ""), (5300 - SPARE_MIB, ""), (5301 - SPARE_MIB, "1 MiB are missing"),
     (10_000, f"{4700 + SPARE_MIB} MiB are missing")],
)  # fmt: skip
def test_a_disk_without_room_is_known_before_the_download(
    mib: int, missing: str, tmp_path: Path
) -> None:
    for name, body in TOOLS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    script = space_script(["/a", "/b"], folder="/opt/cube", mib=mib)
    done = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert done.returncode == bool(missing)
    assert missing in done.stderr
    assert ("nothing was downloaded" in done.stderr) is bool(missing)


def test_a_mismatch_is_told_without_hundreds_of_hashes() -> None:
    said = (
        "error: Hash mismatch for `numpy==2.4.6`\n\n  Expected:\n    sha256:00\n    sha256:01\n\n"
    )
    done = sh(f"awk '{BRIEF}'", said + "  Computed:\n    sha256:02\n")
    assert done.stdout.split() == [
        "error:",
        "Hash",
        "mismatch",
        "for",
        "`numpy==2.4.6`",
        "Computed:",
        "sha256:02",
    ]
