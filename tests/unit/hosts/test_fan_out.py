"""Work side by side: what fails, fails alone; what is interrupted, is said."""

import threading
from pathlib import Path

import pytest

from cube.hosts.fan_out import FanOut
from cube.runtime import log
from cube.runtime.errors import MachineError, ProvisionError
from cube.runtime.log import Event

BOXES = {"a": "word a", "b": "word b", "c": "word c"}


def fan_out(work: object, folder: Path, jobs: int = 3) -> FanOut[str]:
    return FanOut(BOXES, work, jobs=jobs, log_of=lambda name: folder / f"{name}.log")  # type: ignore[arg-type]


def test_one_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    def work(word: str) -> str:
        if word == "word b":
            raise MachineError("b: no answer", hint="look", details="last words")
        if word == "word c":
            raise ConnectionResetError(104, "reset")
        return word

    told: list[Event] = []
    with log.listening(told.append):
        results = fan_out(work, tmp_path).run()
    assert [(one.name, one.state) for one in results] == [
        ("a", "done"),
        ("b", "failed"),
        ("c", "failed"),
    ]
    assert results[0].value == "word a"
    assert [one.error.message for one in results if one.error] == ["b: no answer", "c: reset"]
    assert (tmp_path / "b.log").read_text() == (
        "error: b: no answer\nlast words\nwhat to do: look\n"
    )
    assert sorted(event.data["host"] for event in told if event.data.get("ended")) == list("abc")


def test_a_log_that_cannot_be_written_is_a_matter_of_its_box(tmp_path: Path) -> None:
    (tmp_path / "b").touch()
    logs = {"a": "a.log", "b": "b/no-folder.log", "c": "c.log"}
    one = FanOut(BOXES, str, jobs=3, log_of=lambda name: tmp_path / logs[name])
    results = one.run()
    assert [one.state for one in results] == ["done", "failed", "done"]
    assert [one.error.message for one in results if one.error] == [f"{tmp_path / 'b'}: File exists"]


def test_a_box_that_hangs_holds_nobody(tmp_path: Path) -> None:
    """The others end first, also those for which there was no room at once."""
    others = threading.Barrier(1), threading.Event()
    left = {"word b", "word c"}

    def work(word: str) -> str:
        if word == "word a":
            assert others[1].wait(20)
        else:
            left.discard(word)
            if not left:
                others[1].set()
        return word

    results = fan_out(work, tmp_path, jobs=2).run()
    assert [one.state for one in results] == ["done"] * 3


def test_no_more_than_the_jobs_run_at_once(tmp_path: Path) -> None:
    now, most, mutex = [0], [0], threading.Lock()
    both = threading.Barrier(2)

    def work(word: str) -> str:
        with mutex:
            now[0] += 1
            most[0] = max(most[0], now[0])
        if word != "word c":
            both.wait(20)
        with mutex:
            now[0] -= 1
        return word

    fan_out(work, tmp_path, jobs=2).run()
    assert most == [2]


def test_ctrl_c_ends_those_that_run_and_starts_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, waiting = threading.Event(), threading.Event()

    def work(word: str) -> str:
        if word == "word a":
            return word
        waiting.set()
        assert ended.wait(20)
        raise ProvisionError("its process was ended")

    made = FanOut(
        BOXES, work, jobs=1, log_of=lambda name: tmp_path / f"{name}.log", on_stop=ended.set
    )
    note = made._note

    def interrupt(result: object) -> None:
        note(result)  # type: ignore[arg-type]
        assert waiting.wait(20)
        raise KeyboardInterrupt

    monkeypatch.setattr(made, "_note", interrupt)
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert [one.state for one in made.results()] == ["done", "interrupted", "not started"]
    assert not any(thread.is_alive() for thread in made._threads)


def test_a_mistake_of_ours_is_no_failure_of_a_box(tmp_path: Path) -> None:
    def work(word: str) -> str:
        return word.nothing  # type: ignore[attr-defined,no-any-return]

    with pytest.raises(AttributeError):
        fan_out(work, tmp_path).run()


def test_each_box_has_its_own_log_and_steps(tmp_path: Path) -> None:
    """What everybody hears has the name of the box; idle operations are in its log alone."""
    barrier = threading.Barrier(3)

    def work(word: str) -> str:
        with log.step(f"Working on {word}"):
            barrier.wait(20)
            log.debug(f"detail of {word}")
            log.operation("nothing to do", seconds=0.1, changed=False)
        return word

    told: list[Event] = []
    with log.listening(told.append), log.step("All"):
        fan_out(work, tmp_path).run()
    for name in BOXES:
        lines = (tmp_path / f"{name}.log").read_text().splitlines()
        words = [line.split(" ", 1)[1] for line in lines]
        assert words[0] == f"→ Working on word {name}"
        assert words[1:3] == [f"detail of word {name}", "  ok      nothing to do (0.1 s)"]
        assert f"{name}: Working on word {name}" in [one.text for one in told]
    assert not [one for one in told if one.kind == "debug"]
