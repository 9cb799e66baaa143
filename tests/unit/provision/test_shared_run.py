"""One run of pyinfra for many hosts: a real one where nothing answers, and planted ones."""

import json
import sys
import threading
from pathlib import Path

import pytest

from cube import config
from cube.config import Spec
from cube.hosts.target import Box
from cube.machines import Endpoint
from cube.provision import pyinfra_run, shared_run
from cube.provision.pyinfra_run import Applied
from cube.provision.shared_run import SharedRuns, shared_runs
from cube.runtime.errors import CubeError, ProvisionError


@pytest.fixture
def loaded(tmp_path: Path) -> Spec:
    file = tmp_path / "cube.toml"
    file.write_text('[build]\ndir = "build"\n')
    return config.load(file)


def box(tmp_path: Path, name: str) -> Box:
    """A box at a port of loopback where nobody listens."""
    (tmp_path / "key").touch()
    endpoint = Endpoint(
        host="127.0.0.1",
        port=1,
        user="anna",
        key_file=tmp_path / "key",
        known_hosts=tmp_path / "known",
    )
    return Box(name=name, endpoint=endpoint)


def apply_to(
    names: str, runs: SharedRuns, loaded: Spec, tmp_path: Path
) -> dict[str, Applied | CubeError]:
    """Apply a layer to boxes side by side; return what became of each."""
    ended: dict[str, Applied | CubeError] = {}

    def attempt(name: str) -> None:
        try:
            host = box(tmp_path, name)
            ended[name] = pyinfra_run.apply(1, host, spec=loaded, building=False, pool=runs)
        except CubeError as error:
            ended[name] = error

    threads = [threading.Thread(target=attempt, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return ended


def test_each_host_has_its_own_reason(loaded: Spec, tmp_path: Path) -> None:
    with shared_runs(limit_s=60) as runs:
        ended = apply_to("abc", runs, loaded, tmp_path)
    assert ended.keys() == set("abc")
    for error in ended.values():
        assert isinstance(error, ProvisionError)
        assert error.message.startswith("layer 1: Could not connect")


#: Stands for pyinfra: writes the events that the test has put beside, and waits.
PROGRAM = """
import json, os, sys, time
machines = json.load(open(os.environ["CUBE_MACHINE"]))
print("    [a] a line of a", flush=True)
print("--> a line of nobody", flush=True)
with open(os.environ["CUBE_EVENTS"], "a") as file:
    for machine in machines:
        name = machine["name"]
        if name in {silent!r}:
            continue
        plan = {{"event": "plan", "host": name, "layer": 1,
                "operations": [{{"id": "x", "name": "X"}}]}}
        end = {{"event": "end", "host": name, "id": "x", "name": "X", "changed": False,
               "seconds": len(machines), "execs": 1, "commands": []}}
        last = {{"event": "exit", "host": name, "code": 0, "cause": ""}}
        file.write("".join(json.dumps(one) + "\\n" for one in (plan, end, last)))
        file.flush()
time.sleep({sleep})
"""


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> object:
    def plant(*, silent: str = "", sleep: float = 0) -> None:
        text = PROGRAM.format(silent=silent, sleep=sleep)
        monkeypatch.setattr(pyinfra_run, "pyinfra_args", lambda **_: [sys.executable, "-c", text])

    return plant


def test_hosts_that_ask_together_share_a_run(planted: object, loaded: Spec, tmp_path: Path) -> None:
    planted()  # type: ignore[operator]
    with shared_runs(limit_s=60) as runs:
        ended = apply_to("abc", runs, loaded, tmp_path)
    assert [one.seconds for one in ended.values() if isinstance(one, Applied)] == [3, 3, 3]


def test_a_host_that_hangs_holds_nobody(planted: object, loaded: Spec, tmp_path: Path) -> None:
    """Those whose last event is there go on while pyinfra still runs."""
    planted(silent="b", sleep=1000)  # type: ignore[operator]
    with shared_runs(limit_s=60) as runs:
        stopper = threading.Timer(8, runs.stop)
        stopper.start()
        ended = apply_to("abc", runs, loaded, tmp_path)
        stopper.join()
    assert list(ended)[-1] == "b"
    assert "stopped" in str(ended.pop("b"))
    assert all(isinstance(one, Applied) for one in ended.values())


def test_a_host_without_a_last_event_has_failed(
    planted: object, loaded: Spec, tmp_path: Path
) -> None:
    planted(silent="a")  # type: ignore[operator]
    with shared_runs(limit_s=60) as runs:
        ended = apply_to("ab", runs, loaded, tmp_path)
    assert isinstance(ended["b"], Applied)
    error = ended["a"]
    assert isinstance(error, ProvisionError)
    assert error.message == "layer 1: pyinfra did not report the end of this host"
    assert error.details.splitlines() == [
        "[a] a line of a",
        "--> a line of nobody",
    ]


def test_a_host_has_a_deadline_although_pyinfra_says_nothing(
    planted: object, loaded: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_run, "LATE_S", 0.5)
    planted(silent="a", sleep=1000)  # type: ignore[operator]
    with shared_runs(limit_s=2) as runs:
        ended = apply_to("a", runs, loaded, tmp_path)
    assert "did not end within" in str(ended["a"])


def test_events_that_cannot_be_read_fail_every_host(
    loaded: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import os; open(os.environ['CUBE_EVENTS'], 'w').write('half a line\\n')"
    monkeypatch.setattr(pyinfra_run, "pyinfra_args", lambda **_: [sys.executable, "-c", text])
    with shared_runs(limit_s=20) as runs:
        ended = apply_to("ab", runs, loaded, tmp_path)
    for error in ended.values():
        assert isinstance(error, ProvisionError)
        assert "a line of pyinfra's events is broken" in error.message
        assert "TMPDIR" in error.hint


def test_lines_belong_to_the_host_that_they_begin_with() -> None:
    request = shared_run.Request(machine=json.loads('{"name": "a"}'), timeout_s=1)
    hosts = {"a": request}
    assert shared_run.named_in("    [a] Connected", hosts) is request
    assert shared_run.named_in("[a]    padded", hosts) is request
    assert shared_run.named_in("    [ab] Connected", hosts) is None
    assert shared_run.named_in("--> Starting operation: [a]", hosts) is None
