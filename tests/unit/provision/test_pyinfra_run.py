"""What is made of pyinfra's events; and pyinfra itself, offline."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from cube import config
from cube.hosts.target import Box
from cube.machines import Endpoint
from cube.provision import pyinfra_run
from cube.provision.file_diff import LINES, excerpt
from cube.provision.pyinfra_events import Journal
from cube.provision.pyinfra_run import Applied, Target
from cube.runtime import log, run
from cube.runtime.errors import ProvisionError
from cube.runtime.log import Event

PLAN = {
    "event": "plan",
    "host": "m",
    "layer": 1,
    "operations": [{"id": "a", "name": "Do a"}, {"id": "b", "name": "Do b"}],
}


def end(op: str, **more: object) -> dict[str, Any]:
    base = {"event": "end", "id": op, "host": "m", "name": f"Do {op}", "role": "common", "layer": 1}
    return {**base, "changed": False, "seconds": 0.5, "execs": 2, "commands": ["x"], **more}


def journal(tmp_path: Path, *events: dict[str, Any]) -> Journal:
    file = tmp_path / "events.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    made = Journal(file=file)
    made.line("pyinfra's last words")
    return made


def test_a_layer_is_applied_when_every_operation_ended(tmp_path: Path) -> None:
    applied = pyinfra_run.judge(1, 0, journal(tmp_path, PLAN, end("a"), end("b", changed=True)))
    assert (applied.operations, applied.execs, applied.seconds) == (2, 4, 1.0)
    assert applied.changed == ("common: Do b: x",)


def test_what_a_later_layer_loads_ahead_is_none_of_a_layers_operations(tmp_path: Path) -> None:
    ahead = end("c", changed=True, layer=4, role="frameworks")
    told = journal(tmp_path, PLAN, ahead, end("a"), end("b"))
    applied = pyinfra_run.judge(1, 0, told)
    assert (applied.operations, applied.execs, applied.changed) == (2, 4, ())


@pytest.mark.parametrize(
    ("code", "events", "message"),
    [
        (0, [PLAN, end("a")], "layer 1: did not end: Do b"),
        (0, [], "layer 1: pyinfra's exit code is 0"),
        (1, [PLAN, end("a"), end("b")], "layer 1: pyinfra's exit code is 1"),
        (1, [PLAN, end("a", error="E: no space")], "layer 1: common: Do a: failed"),
        (0, [PLAN, end("a", error="E: no space"), end("b")], "layer 1: common: Do a: failed"),
    ],
)
def test_no_exit_code_is_believed_alone(
    code: int, events: list[dict[str, Any]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ProvisionError) as caught:
        pyinfra_run.judge(1, code, journal(tmp_path, *events))
    assert caught.value.message == message
    assert "run cube build again" in caught.value.hint


def test_a_failed_operation_shows_what_its_command_printed(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError) as caught:
        pyinfra_run.judge(1, 1, journal(tmp_path, PLAN, end("a", error="E: no space")))
    assert caught.value.details == "E: no space"


def test_what_a_run_that_fails_leaves_changed_on_a_box_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = (PLAN, end("a", changed=True), end("b", error="E: no space"))
    monkeypatch.setattr(pyinfra_run, "run_layer", lambda *_, **__: (1, journal(tmp_path, *events)))
    endpoint = Endpoint(host="h", port=1, user="u", key_file=Path("/k"), known_hosts=Path("/h"))
    box = Box(name="desk1", endpoint=endpoint, building=False)
    with pytest.raises(ProvisionError) as caught:
        pyinfra_run.apply(1, box, building=False)
    assert caught.value.details == (
        "E: no space\nchanged before that, and left so:\n  common: Do a"
    )
    with pytest.raises(ProvisionError) as caught:
        pyinfra_run.apply(1, box)
    assert caught.value.details == "E: no space"


def test_what_pyinfra_said_is_shown_when_no_operation_failed(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError) as caught:
        pyinfra_run.judge(1, 1, journal(tmp_path))
    assert caught.value.details == "pyinfra's last words"


GAVE_UP = "--> pyinfra error in /x/roles/a.py line 9: layer 1: no such thing: b"


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([PLAN, end("a")], "layer 1: no such thing: b"),
        ([], "layer 1: no such thing: b"),
        ([PLAN, end("a", error="E: no space")], "layer 1: common: Do a: failed"),
    ],
)
def test_why_pyinfra_gave_up_is_told_first(
    events: list[dict[str, Any]], message: str, tmp_path: Path
) -> None:
    made = journal(tmp_path, *events)
    made.line(GAVE_UP)
    with pytest.raises(ProvisionError) as caught:
        pyinfra_run.judge(1, 1, made)
    assert caught.value.message == message


FAILED = end("a", error="E: no space")


@pytest.mark.parametrize("more", [(), (FAILED,)])
def test_the_cause_in_the_last_event_of_a_host_goes_first(
    more: tuple[dict[str, Any], ...], tmp_path: Path
) -> None:
    last = {"event": "exit", "host": "m", "code": 1, "cause": "did not end within 5 s"}
    with pytest.raises(ProvisionError, match="layer 1: did not end within 5 s"):
        pyinfra_run.judge(1, 1, journal(tmp_path, PLAN, last, *more))


def test_a_failed_operation_is_named_although_its_host_gave_up(tmp_path: Path) -> None:
    last = {"event": "exit", "host": "m", "code": 1, "cause": ""}
    told = journal(tmp_path, PLAN, end("a", error="E: no space"), last)
    with pytest.raises(ProvisionError, match="layer 1: common: Do a: failed"):
        pyinfra_run.judge(1, 1, told)


def test_a_box_reports_its_key_and_answers_the_last_question(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = [
        {"event": "key", "host": "m", "layer": 1, "key": "abc"},
        {"event": "answer", "host": "m", "text": "asked dbus"},
    ]
    applied = pyinfra_run.judge(1, 0, journal(tmp_path, PLAN, end("a"), end("b"), *told))
    assert (applied.key, applied.answer) == ("abc", "asked dbus")
    silent = pyinfra_run.judge(1, 0, journal(tmp_path, PLAN, end("a"), end("b")))
    assert (silent.key, silent.answer) == ("", None)


def test_a_skipped_layer_says_why(tmp_path: Path) -> None:
    skip = {"event": "skip", "host": "m", "layer": 2, "reason": "no GPU"}
    assert pyinfra_run.judge(2, 0, journal(tmp_path, skip)).skipped == "no GPU"


def test_a_layer_that_a_gpu_decided_on_says_why_it_applies(tmp_path: Path) -> None:
    plan = {**PLAN, "layer": 2, "reason": "4 NVIDIA GPUs"}
    assert pyinfra_run.judge(2, 0, journal(tmp_path, plan, end("a"), end("b"))).reason == (
        "4 NVIDIA GPUs"
    )
    assert pyinfra_run.judge(1, 0, journal(tmp_path, PLAN, end("a"), end("b"))).reason == ""


FIRST = Applied(layer=1, operations=2, changed=("a", "b"))


def repeat(monkeypatch: pytest.MonkeyPatch, again: Applied) -> Applied:
    """Prove idempotence where the second application has this result."""
    monkeypatch.setattr(pyinfra_run, "apply", lambda *_, **__: again)
    return pyinfra_run.prove_idempotent(1, cast(Target, None), first=FIRST)


def test_a_second_application_that_repeats_all_and_changes_nothing_is_proof(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    again = Applied(layer=1, operations=2, execs=3)
    assert repeat(monkeypatch, again) == again


@pytest.mark.parametrize(
    ("again", "told"),
    [
        (Applied(layer=1, operations=2, changed=("a: b",)), "changed something: 1 operation"),
        (Applied(layer=1, skipped="no GPU"), "is no proof: skipped, no GPU; the first had 2"),
        (Applied(layer=1, operations=1), "is no proof: 1 operations; the first had 2"),
        (Applied(layer=1, operations=3), "is no proof: 3 operations; the first had 2"),
    ],
)
def test_another_second_application_is_none(
    monkeypatch: pytest.MonkeyPatch, again: Applied, told: str
) -> None:
    with pytest.raises(ProvisionError, match=told):
        repeat(monkeypatch, again)


def test_what_a_second_application_changed_in_a_file_is_told_within_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = ["will change /a", *(f"+ {number}" for number in range(20)), "+ " + "x" * 200]
    diffs = ("\n".join(lines), "", "will change /b")
    again = Applied(layer=1, operations=2, changed=("a: b: x", "a: c: y", "a: d: z"), diffs=diffs)
    with pytest.raises(ProvisionError, match="3 operations") as caught:
        repeat(monkeypatch, again)
    told = caught.value.details.splitlines()
    assert told[:3] == ["a: b: x", "    will change /a", "    + 0"]
    assert told[LINES : LINES + 3] == ["    + 14", "    ... and 6 lines more", "a: c: y"]
    assert told[LINES + 3 :] == ["a: d: z", "    will change /b: its owner or mode"]
    assert excerpt(diffs[0].splitlines()[-1]) == ["    + " + "x" * 158]


def test_the_second_application_is_asked_for_differences(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[list[str]] = []

    def stream(argv: list[str], **_: object) -> int:
        asked.append(argv)
        return 0

    monkeypatch.setattr(run, "stream", stream)
    for diff in (False, True):
        pyinfra_run.run_pyinfra(["x"], {}, tmp_path, timeout_s=1, diff=diff)
    assert [argv[3:] for argv in asked] == [["--yes", "x"], ["--yes", "--diff", "x"]]


def test_events_come_in_while_the_file_grows(tmp_path: Path) -> None:
    heard: list[Event] = []
    made = journal(tmp_path, PLAN)
    text = json.dumps(end("a"))
    with log.listening(heard.append), made.file.open("a") as stream:
        stream.write(text[:10])
        stream.flush()
        made.line("half a line is left for later")
        begun = {"event": "start", "host": "m", "name": "Do b", "role": "common"}
        stream.write(text[10:] + "\n" + json.dumps(begun) + "\n")
        stream.flush()
        made.line("--> Starting operation: Common | Do b")
    assert [event["event"] for event in made.events] == ["plan", "end", "start"]
    assert [event.text for event in heard if event.kind == "operation"] == ["common: Do a"]
    assert [event.text for event in heard if event.kind == "status"] == ["common: Do b"]


PROJECT = Path(__file__).parents[3]


def test_every_layer_runs_offline() -> None:
    assert pyinfra_run.dry_run_offline(config.load(PROJECT / "cube.toml")) == []


def test_every_layer_of_a_box_with_gpus_runs_offline(tmp_path: Path) -> None:
    file = tmp_path / "cube.toml"
    file.write_text('[gpu]\nmode = "assume"\n')
    assert pyinfra_run.dry_run_offline(config.load(file)) == []


def run_inventory(tmp_path: Path, text: str) -> str:
    file = tmp_path / "cube.toml"
    file.write_text(f'{text}\n[build]\ndir = "nowhere"\n')  # not the build that may be under way
    _, journal = pyinfra_run.run_pyinfra(
        ["inventory.py", "debug-inventory"], {"CUBE_SPEC": str(file)}, tmp_path, timeout_s=60
    )
    return journal.tail()


def test_an_inventory_without_hosts_says_what_to_do(tmp_path: Path) -> None:
    assert "list one under [hosts.NAME] in cube.toml" in run_inventory(tmp_path, "")


def test_an_inventory_of_a_wrong_specification_names_the_mistake(tmp_path: Path) -> None:
    text = run_inventory(tmp_path, '[image]\nos = "debian-12"\n')
    assert "image.os = 'debian-12'" in text
    assert "Traceback" not in text
