"""The box judges itself, tells the truth about it, and does so by itself."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from testinfra.host import Host

LAYERS = [f"health-check-layer{number}.sh" for number in range(1, 6)]
SCRIPTS = [*LAYERS, "validate-gpus.sh"]
#: Run by `cube validate`; what they say is judged there.
SUITES = [
    "test-pytorch-ddp.py",
    "test-tensorflow-gpu.py",
    "test-vllm-inference.py",
    "test-docker-gpu.sh",
]

#: Exit code by outcome. Source: docs/reference.md; 77 is automake's "skipped".
CODES = {"pass": 0, "fail": 1, "not_run": 77}


class Verdict(NamedTuple):
    """What a health check printed as JSON, and its exit code."""

    code: int
    told: dict[str, Any]

    @property
    def failed(self) -> list[str]:
        """Return the checks that failed, in words."""
        rows = [row for row in self.told["checks"] if row["status"].lower() == "fail"]
        return [f"{row['name']}: {row['detail']}" for row in rows]


@pytest.fixture(scope="module")
def record(host: Host) -> dict[str, Any]:
    """The state file of a run that is made now."""
    host.run("systemctl start cube-health.service")
    text = host.file("/var/lib/cube/health.json").content_string
    told: dict[str, Any] = json.loads(text)
    return told


@pytest.fixture(scope="module")
def verdicts(host: Host, record: Mapping[str, Any]) -> dict[str, Verdict]:  # noqa: ARG001 (fresh)
    """Every health check's verdict, each run once."""
    runs = {name: host.run("/usr/local/bin/%s --json", name) for name in SCRIPTS}
    return {name: Verdict(run.rc, json.loads(run.stdout)) for name, run in runs.items()}


@pytest.mark.parametrize("script", [*SCRIPTS, *SUITES])
def test_script_is_for_all_to_run_and_for_root_to_change(host: Host, script: str) -> None:
    file = host.file(f"/usr/local/bin/{script}")
    assert (file.user, file.mode & 0o777) == ("root", 0o755)


@pytest.mark.parametrize("script", [*SCRIPTS, *SUITES])
def test_script_explains_itself(host: Host, script: str) -> None:
    assert host.run("/usr/local/bin/%s --help", script).rc == 0


@pytest.mark.parametrize("script", [*SCRIPTS, *SUITES])
def test_script_refuses_an_unknown_argument(host: Host, script: str) -> None:
    assert host.run("/usr/local/bin/%s --no-such-argument", script).rc == 2


@pytest.mark.parametrize("script", SCRIPTS)
def test_exit_code_agrees_with_the_outcome(verdicts: dict[str, Verdict], script: str) -> None:
    code, told = verdicts[script]
    assert code == CODES[told["outcome"]]


@pytest.mark.parametrize("script", SCRIPTS)
def test_outcome_agrees_with_the_checks(verdicts: dict[str, Verdict], script: str) -> None:
    told = verdicts[script].told
    statuses = {row["status"].lower() for row in told["checks"]}
    expected = "fail" if "fail" in statuses else "pass" if "ok" in statuses else "not_run"
    assert told["outcome"] == expected


@pytest.mark.parametrize("script", ["health-check-layer1.sh", "health-check-layer5.sh"])
def test_nothing_fails_in(verdicts: dict[str, Verdict], script: str) -> None:
    assert verdicts[script].failed == []


@pytest.mark.parametrize("script", ["health-check-layer1.sh", "health-check-layer5.sh"])
def test_something_passes_in(verdicts: dict[str, Verdict], script: str) -> None:
    assert "ok" in {row["status"].lower() for row in verdicts[script].told["checks"]}


@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_layer_that_is_absent_is_not_called_healthy(
    host: Host, verdicts: dict[str, Verdict], number: int
) -> None:
    layers = json.loads(host.file("/var/lib/cube/layers.json").content_string)["layers"]
    verdict = verdicts[f"health-check-layer{number}.sh"]
    assert str(number) in layers or verdict.code == CODES["not_run"]


@pytest.mark.needs("gpu")
def test_gpus_are_those_expected(verdicts: dict[str, Verdict]) -> None:
    assert verdicts["validate-gpus.sh"].failed == []


def test_health_timer_starts_at_boot(host: Host) -> None:
    assert host.run("systemctl is-enabled cube-health.timer").stdout.strip() == "enabled"


def test_health_timer_is_waiting(host: Host) -> None:
    assert host.run("systemctl is-active cube-health.timer").stdout.strip() == "active"


def test_health_service_succeeds(host: Host, record: Mapping[str, Any]) -> None:
    assert record
    assert host.check_output("systemctl show --property Result --value cube-health") == "success"


def test_state_file_is_of_now(host: Host, record: Mapping[str, Any]) -> None:
    now = int(host.check_output("date +%s"))
    made = int(host.check_output("date --utc --date %s +%%s", record["time"]))
    assert 0 <= now - made < 600


def test_state_file_holds_every_verdict(record: Mapping[str, Any]) -> None:
    names = {result["check"] for result in record["results"]}
    assert names == {"layer1", "layer2", "layer3", "layer4", "layer5", "gpus"}


def test_state_file_is_for_all_to_read(host: Host, record: Mapping[str, Any]) -> None:
    assert record
    assert host.file("/var/lib/cube/health.json").mode & 0o777 == 0o644


def test_journal_has_a_line_of_the_run(host: Host, record: Mapping[str, Any]) -> None:
    lines = host.check_output("journalctl --identifier cube-health --boot --output cat")
    assert record["summary"] in lines
