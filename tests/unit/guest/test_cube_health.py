"""cube-health: six checks, one result, one line."""

import json
import stat
from pathlib import Path

import pytest

from cube.runtime.run import Completed, run

from .conftest import Box, interpreter, launcher_text

SCRIPTS = [*(f"health-check-layer{n}.sh" for n in range(1, 6)), "validate-gpus.sh"]
CODES = {"pass": 0, "fail": 1, "not_run": 77}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six scripts that did not run."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    for script in SCRIPTS:
        answer(folder, script, "not_run")
    return folder


def answer(
    folder: Path, script: str, outcome: str, *, code: int | None = None, **detail: str
) -> None:
    """Make a script that answers with an outcome and, if given, one failed check."""
    check = script.removeprefix("health-check-").removeprefix("validate-").removesuffix(".sh")
    data = {
        "check": check,
        "outcome": outcome,
        "reason": "",
        "evidence": "simulated",
        "checks": [
            {"name": name.replace("_", " "), "status": "FAIL", "detail": text}
            for name, text in detail.items()
        ],
    }
    write(
        folder,
        script,
        f"cat <<'END'\n{json.dumps(data)}\nEND\nexit {CODES[outcome] if code is None else code}",
    )


def write(folder: Path, script: str, text: str) -> None:
    file = folder / script
    file.write_text(f"#!/bin/bash\n{text}\n")
    file.chmod(0o755)


def health(box: Box, folder: Path, *arguments: str) -> Completed:
    (box.root / "var/lib/cube").mkdir(parents=True, exist_ok=True)
    return run(
        [*interpreter("cube-health"), *arguments],
        accept=range(256),
        env=box.environment(CUBE_BIN=str(folder)),
    )


def test_all_that_applies_passed(box: Box, folder: Path) -> None:
    answer(folder, "health-check-layer1.sh", "pass")
    answer(folder, "health-check-layer5.sh", "pass")
    done = health(box, folder)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "layer1, layer5 ok; layer2, layer3, layer4, gpus not run"


def test_nothing_applies(box: Box, folder: Path) -> None:
    assert health(box, folder).returncode == 77


def test_a_failure_is_named(box: Box, folder: Path) -> None:
    answer(folder, "health-check-layer1.sh", "fail", docker_answers="exit code 1", uv="gone")
    done = health(box, folder)
    assert done.returncode == 1
    assert "layer1 FAIL docker answers: exit code 1; layer1 FAIL uv: gone" in done.stdout


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("echo nonsense", "exit code 0"),
        ("echo 'needs root' >&2; exit 2", "exit code 2: needs root"),
        ("kill -9 $$", "exit code -9"),
        ("echo '[]'", "exit code 0"),
        ("printf '\\xff'; exit 1", "exit code 1"),
    ],
)
def test_a_script_that_breaks_is_no_pass(box: Box, folder: Path, text: str, word: str) -> None:
    answer(folder, "health-check-layer1.sh", "pass")
    write(folder, "validate-gpus.sh", text)
    done = health(box, folder)
    assert done.returncode == 2
    assert f"gpus could not run: {word}" in done.stdout


def test_a_missing_script_is_no_pass(box: Box, folder: Path) -> None:
    (folder / "health-check-layer2.sh").unlink()
    done = health(box, folder)
    assert done.returncode == 2
    assert "layer2 could not run" in done.stdout


def test_an_exit_code_that_contradicts_is_no_pass(box: Box, folder: Path) -> None:
    answer(folder, "health-check-layer1.sh", "pass", code=1)
    done = health(box, folder)
    assert done.returncode == 2
    assert "layer1 could not run: exit code 1" in done.stdout


@pytest.mark.parametrize(("outcome", "priority"), [("pass", 6), ("fail", 3), ("not_run", 4)])
def test_record_leaves_one_line_and_a_file(
    box: Box, folder: Path, outcome: str, priority: int
) -> None:
    answer(folder, "health-check-layer1.sh", outcome)
    done = health(box, folder, "--record")
    assert done.returncode == 0
    assert done.stdout.startswith(f"<{priority}>")
    assert done.stdout.count("\n") == 1
    file = box.root / "var/lib/cube/health.json"
    data = json.loads(file.read_text())
    assert data["outcome"] == outcome
    assert [result["check"] for result in data["results"]] == [
        "layer1",
        "layer2",
        "layer3",
        "layer4",
        "layer5",
        "gpus",
    ]
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [path.name for path in file.parent.iterdir()] == ["health.json"]


def test_a_result_that_cannot_be_written_is_an_error(box: Box, folder: Path) -> None:
    box.write("var/lib/cube/health.json/in-the-way", "")
    done = health(box, folder, "--record")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in (box.root / "var/lib/cube").iterdir()] == ["health.json"]


def test_json(box: Box, folder: Path) -> None:
    done = health(box, folder, "--json")
    assert json.loads(done.stdout)["outcome"] == "not_run"


def test_over_the_real_scripts(box: Box, tmp_path: Path) -> None:
    box.install(4)
    for script in SCRIPTS:
        write(tmp_path, script, launcher_text(script))
    done = box.run("cube-health", CUBE_BIN=str(tmp_path))
    assert done.returncode == 1
    assert "layer4 FAIL frameworks" in done.stdout.splitlines()[-1]
