"""What a run with --diff tells of the files that it changes: pyinfra itself, in a folder of a test.

The operations are pyinfra's own and ours, on this machine, as its user.
"""

from pathlib import Path
from typing import Any

import gevent
import pytest
from pyinfra import logger

from cube.provision import pyinfra_run
from cube.runtime import log
from deploy.runner import events

DEPLOY = """\
from io import BytesIO, StringIO

from deploy.runner import events
from deploy.operations.files import put_atomic
from pyinfra import host, state
from pyinfra.operations import files, server

recorder = events.recorder(state, host)
files.put(name="Put", src=StringIO("a\\n\\nnew\\n"), dest="{folder}/put")
files.put(name="Put bytes", src=BytesIO(b"\\xff\\xfe"), dest="{folder}/bytes")
files.line(name="Line", path="{folder}/line", line="^old$", replace="new")
files.put(name="Put mode", src=StringIO("same\\n"), dest="{folder}/mode", mode="600")
owner = "{user}"
put_atomic(name="Put again", dest="{folder}/atomic", content="new\\n", user=owner, group=owner)
server.shell(name="Say", commands="echo said")
files.put(name="Keep", src=StringIO("same\\n"), dest="{folder}/kept")
recorder.label(host, 0, layer=5, role="planted")
"""
WRITTEN = {
    "put": b"a\n\nold\n", "bytes": b"\x00", "line": b"old\n", "mode": b"same\n",
    "atomic": b"old\n", "kept": b"same\n",
}  # fmt: skip


@pytest.fixture
def ended(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """The events of operations that ended, by name."""
    for name, content in WRITTEN.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o644)
    file = tmp_path / "planted.py"
    file.write_text(DEPLOY.format(folder=tmp_path, user=tmp_path.owner()))
    code, journal = pyinfra_run.run_pyinfra(
        ["@local", str(file)], {}, tmp_path, timeout_s=60, told=False, diff=True
    )
    assert code == 0, journal.tail()
    return {event["name"]: event for event in journal.of("end")}


def test_what_changes_in_a_file_is_told(ended: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    assert ended["Put"]["diff"].splitlines() == [
        f"Will modify {tmp_path}/put",
        "  @@ -1,3 +1,3 @@",
        "    a",
        "",
        "  - old",
        "  + new",
    ]
    assert ended["Line"]["diff"].splitlines()[-2:] == ["  - old", "  + new"]
    assert ended["Put mode"]["diff"].splitlines() == ["mode 644", "mode 600"]
    assert ended["Put again"]["diff"].splitlines()[0] == f"will change {tmp_path}/atomic"
    assert ended["Put again"]["diff"].splitlines()[-2:] == ["    - old", "    + new"]


def test_what_is_no_text_is_written_all_the_same(
    ended: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    assert ended["Put bytes"]["diff"].splitlines()[-1] == "what it changes is no text"
    assert (tmp_path / "bytes").read_bytes() == b"\xff\xfe"
    assert ended["Line"]["diff"], "the operations after it tell theirs"


def test_what_is_no_difference_of_a_file_is_not_told(ended: dict[str, dict[str, Any]]) -> None:
    assert (ended["Say"]["changed"], ended["Say"]["diff"]) == (True, "")
    assert (ended["Keep"]["changed"], ended["Keep"]["diff"]) == (False, "")


FAILS = """\
from deploy.runner import events
from pyinfra import host, state
from pyinfra.operations import server

recorder = events.recorder(state, host)
server.shell(name="Say", commands="echo said")
server.shell(name="Break", commands="echo broken; exit 3")
server.shell(name="Never", commands="echo never")
recorder.label(host, 0, layer=5, role="planted")
"""


def test_without_waiting_each_operation_is_told_and_a_failure_is_one(tmp_path: Path) -> None:
    """pyinfra itself ends with 0 there, and tells of no operation's end."""
    file = tmp_path / "planted.py"
    file.write_text(FAILS)
    code, journal = pyinfra_run.run_pyinfra(
        ["--no-wait", "@local", str(file)], {}, tmp_path, timeout_s=60, told=False
    )
    assert code == 1
    told = [(one["name"], one["changed"], one.get("error", "")) for one in journal.of("end")]
    assert told == [("Say", True, ""), ("Break", False, "broken")]


def test_each_greenlet_hears_itself_alone() -> None:
    """Hosts are prepared side by side: what one says is no difference of another's file."""
    heard: dict[str, list[str]] = {}

    def say(name: str) -> None:
        with events.overheard() as said:
            for number in range(3):
                logger.warning(f"{name} {number}")
                gevent.sleep(0)
        heard[name] = said

    gevent.joinall([gevent.spawn(say, name) for name in "ab"], raise_error=True)
    assert heard == {name: [f"{name} {number}" for number in range(3)] for name in "ab"}
    assert events._heard.get() is None


GUARDED = """\
from deploy.runner import events
from pyinfra import host, state
from pyinfra.api import operation
from pyinfra.operations import server

@operation()
def broken():
    if state.is_executing:
        raise KeyError("what")
    yield "true"

recorder = events.recorder(state, host)
server.shell(name="Say", commands="echo said")
{more}
recorder.label(host, 0, layer=5, role="planted")
"""


@pytest.mark.parametrize(
    ("more", "code", "cause"),
    [
        ("", 0, ""),
        ('server.shell(name="Break", commands="exit 3")', 1, ""),
        ('server.shell(name="Break", commands="exit 3", _ignore_errors=True)', 0, ""),
        ('broken(name="Break")', 1, "KeyError: 'what'"),
    ],
)
@pytest.mark.parametrize("wait", [[], ["--no-wait"]])
def test_the_last_event_of_a_host_has_its_exit_code(
    more: str, code: int, cause: str, wait: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "planted.py"
    file.write_text(GUARDED.format(more=more))
    _, journal = pyinfra_run.run_pyinfra(
        [*wait, "@local", str(file)], {}, tmp_path, timeout_s=60, told=False
    )
    (last,) = journal.of("exit")
    assert journal.events[-1] == last
    assert (last["host"], last["code"], last["cause"]) == ("@local", code, cause)


LOGIN = """\
from deploy.runner import events
from deploy.operations.files import put_atomic
from pyinfra import host, state
from pyinfra.operations import server

recorder = events.recorder(state, host)
url = "http://me:secret@p.example:3128"
owner = "{user}"
put_atomic(name="Put", dest="{folder}/proxy", content=url + "\\n", user=owner, group=owner)
server.shell(name="Ask", commands="echo " + url + "; cat >&2; false", _stdin=url + "\\n")
recorder.label(host, 0, layer=5, role="planted")
"""


@pytest.mark.parametrize("dry", [False, True])
def test_no_event_and_no_log_has_the_login_of_a_url(tmp_path: Path, *, dry: bool) -> None:
    file = tmp_path / "planted.py"
    file.write_text(LOGIN.format(folder=tmp_path, user=tmp_path.owner()))
    heard: list[log.Event] = []
    with log.listening(heard.append):
        code, journal = pyinfra_run.run_pyinfra(
            ["@local", str(file)], {}, tmp_path, timeout_s=60, dry=dry, diff=True
        )
    told = journal.of("predict" if dry else "end")
    masked = "http://***@p.example:3128"
    assert code == (0 if dry else 1)
    assert masked in told[0]["diff"]
    assert all(masked in one["commands"][-1] for one in told)
    assert dry or masked in told[1]["error"]
    assert any(masked in event.text for event in heard)
    assert "secret" not in journal.file.read_text() + "".join(event.text for event in heard)
