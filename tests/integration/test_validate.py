"""`cube validate` against a container: suites that end, hang, die, and a box that restarts.

The suites' programs are planted: what the real ones find is in test_workloads.py.
"""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from cube.hosts.target import Box
from cube.hosts.validation import remote_lock, runner
from cube.hosts.validation.catalog import NAMES, Suite, named
from cube.hosts.validation.result import SuiteResult
from cube.machines import ssh
from cube.runtime.errors import BusyError, MachineError, PassportError, ValidationError
from tests.integration.conftest import PROJECT, Built
from tests.integration.desk import BIN, PASSING, Desk, standing

#: Seconds that a planted program has.
LIMIT_S = 6


@pytest.fixture(scope="module")
def desk(built: Built, key_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with standing(built, key_file, tmp_path_factory.mktemp("desk")) as up:
        yield up


@pytest.fixture
def box(desk: Desk) -> Box:
    return Box(name="desk", endpoint=desk.machine.endpoint)


@pytest.fixture(autouse=True)
def programs(desk: Desk) -> None:
    """Every suite passes, until a test plants another one."""
    for name in NAMES:
        desk.plant(name, PASSING.format(name=name))


def short(name: str) -> Suite:
    return replace(named(name), limit_s=LIMIT_S, quick_limit_s=LIMIT_S)


def run(desk: Desk, box: Box, text: str) -> SuiteResult:
    desk.plant("pytorch", text)
    return runner.run_suite(box, short("pytorch"), quick=True, arguments=())


def nothing_runs(desk: Desk) -> bool:
    return desk.sh("systemctl is-active cube-suite.service || true").strip() == "inactive"


def test_a_box_passes_and_all_forms_of_the_result_are_there(desk: Desk) -> None:
    done = desk.cube("validate", "--quick")

    told = done.of("validation")
    assert done.code == 0, done.told[-1]
    assert (told["verdict"], told["evidence"]) == ("passed", "cpu")
    assert [one["suite"] for one in told["suites"]] == list(NAMES)
    files = {name: Path(path) for name, path in told["files"].items()}
    assert json.loads(files["json"].read_text())["verdict"] == "passed"
    assert 'tests="5"' in files["junit"].read_text()
    assert "it works" in files["html"].read_text()


def by_pytest(desk: Desk, *words: str) -> "subprocess.CompletedProcess[str]":
    argv: list[str | Path] = [
        BIN / "pytest",
        "checks/",
        "-m",
        "stage4",
        "--quick",
        f"--hosts={desk.word}",
        f"--spec={desk.spec.file}",
        "-p",
        "no:cacheprovider",
        "-q",
        *words,
    ]
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, cwd=PROJECT, timeout=300
    )


def test_pytest_judges_the_same(desk: Desk) -> None:
    # What a killed run of pytest left; the next one ends it first.
    desk.sh("systemd-run --quiet --unit=cube-suite sleep 600")

    done = by_pytest(desk)

    assert "5 passed" in done.stdout, done.stdout
    assert done.returncode == 0
    assert nothing_runs(desk)


def test_a_failure_is_named_and_a_gate_ends_the_rest(desk: Desk) -> None:
    desk.plant(
        "gpus",
        "#!/bin/sh\necho '"
        + json.dumps(
            {
                "check": "gpus",
                "outcome": "fail",
                "evidence": "simulated",
                "checks": [{"name": "count", "status": "FAIL", "detail": "3, expected 4"}],
            }
        )
        + "'\nexit 1\n",
    )

    done = desk.cube("validate", "--quick")

    assert done.code == ValidationError.exit_code
    assert "gpus count: 3, expected 4" in done.of("error")["details"]
    outcomes = [one["outcome"] for one in done.of("validation")["suites"]]
    assert outcomes == ["fail", "not_run", "not_run", "not_run", "not_run"]


def test_a_suite_that_is_not_there_is_named(desk: Desk, box: Box) -> None:
    desk.sh(f"rm {named('pytorch').path}")

    found = runner.run_suite(box, short("pytorch"), quick=True, arguments=())

    assert found.outcome == "error"
    assert "is not on the box: apply layer 5" in found.reason


def test_a_suite_that_hangs_is_ended_with_its_children(desk: Desk, box: Box) -> None:
    started = time.monotonic()
    found = run(
        desk,
        box,
        """\
#!/bin/sh
echo "... step 1" >&2
setsid sleep 4711 &
trap '' TERM
sleep 4711
""",
    )

    assert found.outcome == "error"
    assert f"did not end within {LIMIT_S} s" in found.reason
    assert "... step 1" in found.output
    assert time.monotonic() - started < LIMIT_S + runner.STOP_S + 20
    assert nothing_runs(desk)
    assert desk.sh("pgrep -f 'sleep [4]711' || true") == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("#!/bin/sh\nkill -SEGV $$\n", "killed by a signal"),
        ("#!/bin/sh\necho torch is broken >&2\nexit 2\n", "exit code 2"),
        ("#!/bin/sh\necho 'not json'\n", "cannot be read"),
        ("#!/no/interpreter\n", "exit code"),
    ],
)
def test_a_suite_that_comes_to_no_result_is_an_error(
    desk: Desk, box: Box, text: str, reason: str
) -> None:
    found = run(desk, box, text)

    assert found.outcome == "error"
    assert reason in found.reason


def test_a_second_validation_is_refused(desk: Desk, box: Box) -> None:
    with remote_lock.holding(box):
        done = desk.cube("validate", "--quick", "--suites", "docker")
        judged = by_pytest(desk, "-k", "docker")

    assert done.code == BusyError.exit_code
    assert "another validation is running there" in done.of("error")["text"]
    assert "another validation is running there" in judged.stdout
    assert "1 failed" in judged.stdout
    assert desk.cube("validate", "--quick", "--suites", "docker").code == 0


def test_while_pytest_judges_a_validation_is_refused(desk: Desk) -> None:
    desk.plant("docker", "#!/bin/sh\nsleep 5\n" + PASSING.format(name="docker"))
    argv: list[str | Path] = [
        BIN / "pytest",
        "checks/",
        "-m",
        "stage4",
        "-k",
        "docker",
        f"--hosts={desk.word}",
        f"--spec={desk.spec.file}",
        "-p",
        "no:cacheprovider",
        "-q",
    ]
    with subprocess.Popen(argv, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as first:
        wait_for_suite(desk)
        done = desk.cube("validate", "--quick", "--suites", "docker")
        told, _ = first.communicate(timeout=120)

    assert done.code == BusyError.exit_code, done.told
    assert "1 passed" in told


def wait_for_suite(desk: Desk) -> None:
    deadline = time.monotonic() + 60
    while nothing_runs(desk):
        assert time.monotonic() < deadline, "the suite did not start"
        time.sleep(0.2)


#: Somebody with a key who is let in and may not become root.
EVE = """set -e
id eve >/dev/null 2>&1 || useradd --create-home eve
install -d -o eve -m 700 ~eve/.ssh
install -o eve -m 600 ~cube-build/.ssh/authorized_keys ~eve/.ssh/authorized_keys
"""


@pytest.mark.parametrize(
    ("replaced", "told"),
    [
        ((r":\d+\?", ":9?"), ":9: ssh: connect to host 127.0.0.1 port 9"),
        (("ssh_identity_file=[^&]+", "ssh_identity_file={stranger}"), "Permission denied"),
        (("cube-build@", "eve@"), "cannot become root: sudo: a password is required"),
    ],
    ids=["nobody answers", "wrong key", "no sudo"],
)
def test_a_box_that_does_not_let_us_in_is_told(
    desk: Desk, tmp_path: Path, replaced: tuple[str, str], told: str
) -> None:
    desk.sh(EVE)
    stranger = tmp_path / "stranger"
    ssh.make_key(stranger)
    pattern, text = replaced
    word = re.sub(pattern, text.format(stranger=quote(str(stranger), safe="")), desk.word)
    assert word != desk.word

    done = desk.cube("validate", "--quick", at=word)

    assert done.code == MachineError.exit_code, done.told
    assert told in done.of("error")["text"]
    assert done.of("error")["hint"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_validation_leaves_nothing(desk: Desk, number: signal.Signals) -> None:
    desk.plant("docker", "#!/bin/sh\necho '... hanging' >&2\nsleep 600\n")
    argv = [BIN / "cube", "validate", desk.word, "--suites", "docker", "--spec", desk.spec.file]
    with subprocess.Popen(
        [sys.executable, *map(str, argv)], cwd=PROJECT, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for_suite(desk)
        process.send_signal(number)
        process.wait(60)

    desk.plant("docker", PASSING.format(name="docker"))
    again = desk.cube("validate", "--quick", "--suites", "docker")
    assert again.code == 0, again.told[-1]
    assert nothing_runs(desk)
    left = [one for one in again.told if "killed validation" in one.get("text", "")]
    assert bool(left) == (number == signal.SIGKILL)


def test_a_container_is_never_certified(desk: Desk, built: Built, tmp_path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True
    )

    done = desk.cube(
        "certify", "--key", str(tmp_path / "key"), "--manifest", str(built.work.manifest)
    )

    assert done.code == PassportError.exit_code
    assert "it is virtual (systemd-nspawn)" in done.of("error")["text"]
    assert not list(Path(desk.spec.build.dir).rglob("passport.json"))


def test_a_box_that_restarts_in_the_middle_is_told(desk: Desk, box: Box) -> None:
    with pytest.raises(MachineError, match="the host restarted unexpectedly"):
        run(desk, box, "#!/bin/sh\nsystemctl reboot\nsleep 60\n")
