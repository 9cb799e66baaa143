"""What is made of a dry run; and pyinfra's own dry run, offline."""

import json
from pathlib import Path
from typing import Any

import pytest

from cube.hosts import dry_run
from cube.hosts.dry_run import Difference
from cube.provision import pyinfra_run
from cube.provision.pyinfra_events import Journal
from cube.runtime.errors import ProvisionError

GOLDEN = Path(__file__).parents[2] / "golden" / "cube.toml"
PLAN = {
    "event": "plan", "host": "m", "layer": 1,
    "operations": [{"id": "a", "name": "Do a"}, {"id": "b", "name": "Do b"}],
}  # fmt: skip


def asked(op: str, **more: object) -> dict[str, Any]:
    base = {"event": "predict", "id": op, "host": "m", "name": f"Do {op}", "role": "common"}
    return {**base, "layer": 1, "changes": False, "commands": [], "diff": "", **more}


def journal(folder: Path, *events: dict[str, Any]) -> Journal:
    file = folder / "events.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    made = Journal(file=file, told=False)
    made.line("pyinfra's last words")
    return made


def test_only_what_would_change_differs(tmp_path: Path) -> None:
    changed = asked("b", changes=True, commands=["systemctl start b"])
    found = dry_run.conclude(1, 0, journal(tmp_path, PLAN, asked("a"), changed))
    assert found.operations == 2
    assert found.differences == (
        Difference(role="common", operation="Do b", diff="", commands=("systemctl start b",)),
    )


def test_the_record_of_layers_is_compared_elsewhere(tmp_path: Path) -> None:
    noted = asked("b", role="record", changes=True)
    found = dry_run.conclude(1, 0, journal(tmp_path, PLAN, asked("a"), noted))
    assert (found.operations, found.differences) == (1, ())


def test_a_layer_that_does_not_apply_says_why(tmp_path: Path) -> None:
    skip = {"event": "skip", "host": "m", "layer": 2, "reason": "no GPU"}
    assert dry_run.conclude(2, 0, journal(tmp_path, skip)).skipped == "no GPU"


@pytest.mark.parametrize(
    ("code", "events", "message"),
    [
        (0, [PLAN, asked("a")], "was not asked: Do b"),
        (0, [], "pyinfra's exit code is 0"),
        (1, [PLAN, asked("a"), asked("b")], "pyinfra's exit code is 1"),
    ],
)
def test_silence_is_no_agreement(
    code: int, events: list[dict[str, Any]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ProvisionError) as caught:
        dry_run.conclude(1, code, journal(tmp_path, *events))
    assert caught.value.message == f"layer 1: the comparison failed: {message}"
    assert caught.value.details == "pyinfra's last words"


@pytest.mark.parametrize(
    ("diff", "commands", "told"),
    [
        (
            "will change /a\n    - old\n    + new",
            ["sh -c x"],
            "will change /a\n    - old\n    + new",
        ),
        ("will change /a", ["sh -c x"], "will change /a: its owner or mode"),
        ("", ["apt-get install x <<'STDIN'\ny\nSTDIN", "b"], "apt-get install x <<'STDIN'\nb"),
    ],
)
def test_a_difference_is_told_by_its_diff_or_by_its_commands(
    diff: str, commands: list[str], told: str
) -> None:
    one = Difference(role="r", operation="o", diff=diff, commands=tuple(commands))
    assert one.told == told


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    """A dry run of layer 5 on a host that says nothing: all of it is missing there."""
    argv = ["--limit", "@fake/debian-13", "deploy/runner/offline.py", "deploy/layer5.py"]
    code, found = pyinfra_run.run_pyinfra(
        argv,
        {"CUBE_SPEC": str(GOLDEN)},
        tmp_path_factory.mktemp("dry"),
        timeout_s=60,
        told=False,
        dry=True,
    )
    assert code == 0, found.tail()
    return found


def test_a_dry_run_asks_every_operation_and_runs_none(offline: Journal) -> None:
    found = dry_run.conclude(5, 0, offline)
    assert found.operations > 10
    assert offline.of("start") == []
    assert offline.of("end") == []


def test_a_dry_run_tells_role_commands_and_diff(offline: Journal) -> None:
    found = {one.operation: one for one in dry_run.conclude(5, 0, offline).differences}
    one = found["Say which image this is"]
    assert one.role == "monitoring"
    assert one.diff.splitlines()[:3] == [
        "will change /etc/cube/release.json",
        "    @@ -0,0 +1,4 @@",
        "    + {",
    ]
    assert "\x1b" not in one.diff
    assert "/etc/cube/release.json" in one.commands[0]
    tools = found["Install the monitoring tools"]
    assert (tools.diff, len(tools.commands)) == ("", 2)
    assert "install" in tools.commands[1]
