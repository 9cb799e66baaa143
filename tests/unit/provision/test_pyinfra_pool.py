"""Processes of pyinfra for many hosts: real ones, on hosts where nothing answers."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cube import config
from cube.config import Spec
from cube.hosts.target import Box
from cube.machines import Endpoint
from cube.provision import pyinfra_pool as crews
from cube.provision import pyinfra_run
from cube.provision.pyinfra_events import Journal
from cube.provision.pyinfra_pool import Crew, crew, follow
from cube.runtime import run
from cube.runtime.errors import ProvisionError


@pytest.fixture
def loaded(tmp_path: Path) -> Spec:
    file = tmp_path / "cube.toml"
    file.write_text('[build]\ndir = "build"\n')
    return config.load(file)


def nowhere(tmp_path: Path, name: str) -> Box:
    """A box at a port of loopback where nobody listens."""
    (tmp_path / "key").touch()
    endpoint = Endpoint(host="127.0.0.1", port=1, user="anna", key_file=tmp_path / "key",
                        known_hosts=tmp_path / "known")  # fmt: skip
    return Box(name=name, endpoint=endpoint)


def test_why_a_host_failed_is_told_of_each(loaded: Spec, tmp_path: Path) -> None:
    reasons: dict[str, str] = {}

    def attempt(pool: Crew, name: str) -> None:
        with pytest.raises(ProvisionError) as caught:
            pyinfra_run.apply(1, nowhere(tmp_path, name), spec=loaded, building=False, pool=pool)
        reasons[name] = caught.value.message

    with crew(loaded, 3, limit_s=60) as pool:
        threads = [threading.Thread(target=attempt, args=(pool, name)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert reasons.keys() == set("abc")
    assert all("layer 1: Could not connect" in reason for reason in reasons.values())


def test_a_process_that_is_ended_fails_its_jobs_and_takes_no_more(
    loaded: Spec, tmp_path: Path
) -> None:
    with crew(loaded, 1, limit_s=60) as pool:
        pool.stop()
        for _ in range(2):
            with pytest.raises(ProvisionError, match="for many hosts"):
                pyinfra_run.apply(1, nowhere(tmp_path, "a"), spec=loaded, pool=pool)


#: Ends every job as one whose events went to a full disk.
ANSWERS = """
import json, sys
for line in sys.stdin:
    print(json.loads(line)["id"], "No space left on device", flush=True)
"""


def test_a_job_whose_events_could_not_be_written_fails_at_once_and_says_why(
    loaded: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_spec: Spec, errors: Path) -> "subprocess.Popen[bytes]":
        return run.converse([sys.executable, "-c", ANSWERS], errors=errors)

    monkeypatch.setattr(crews, "start", start)
    monkeypatch.setattr(crews, "LATE_S", 0.0)
    with crew(loaded, 1, limit_s=20) as pool, pytest.raises(ProvisionError) as caught:
        pyinfra_run.apply(1, nowhere(tmp_path, "a"), spec=loaded, pool=pool)
    assert caught.value.message.endswith("events.jsonl: No space left on device")
    assert "TMPDIR" in caught.value.hint


def test_a_job_that_never_ends_has_a_deadline(tmp_path: Path) -> None:
    file = tmp_path / "events"
    file.write_text(json.dumps({"event": "said", "text": "--> Starting operation: X"}) + "\n")
    journal, started = Journal(file=file), time.monotonic()
    with pytest.raises(ProvisionError, match="said nothing of its end for 0 s"):
        follow(threading.Event(), journal, timeout_s=0.3)
    assert time.monotonic() - started < 20
    assert journal.output == ["--> Starting operation: X"]


def test_the_reason_in_the_last_event_is_the_cause(tmp_path: Path) -> None:
    file = tmp_path / "events"
    file.write_text(json.dumps({"event": "exit", "code": 1, "cause": "no end after 5 s"}) + "\n")
    journal = Journal(file=file)
    journal.poll()
    with pytest.raises(ProvisionError, match="layer 1: no end after 5 s"):
        pyinfra_run.judge(1, 1, journal)
