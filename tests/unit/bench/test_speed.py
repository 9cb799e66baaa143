import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from bench import boxes, equality, speed, tools
from bench.timing import Runs, Timing
from bench.tools import Site
from cube.runtime import run
from cube.runtime.errors import CubeError
from tests.unit.bench.conftest import WAY


def test_every_target_names_lines_of_the_page() -> None:
    named = {(one["case"], one[side]) for one in speed.TARGETS for side in ("over", "under")}
    assert {case for case, _ in named} <= {*speed.TITLES}
    assert {name for _, name in named} <= {*speed.LABELS}


def test_states_are_compared_but_for_what_may_differ() -> None:
    one = "tree /etc/a -rw a\ntree /etc/machine-id x\ncontent /etc/shadow- x\npackage ufw 1"
    equality.require_same(one, one.replace(" x", " y"), "b")
    for line in ("package ufw 2", "tree /etc/left -rw", "member docker ada"):
        with pytest.raises(CubeError, match="different states: 1 lines"):
            equality.require_same(one, f"{one}\n{line}", "b")


def test_a_state_is_read_and_what_lacks_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    script = equality.script(trees=True, upgrade=False)
    for name, value in (("FILES", f"{tmp_path}/file {tmp_path}/none"), ("TREES", str(tmp_path))):
        script = re.sub(f"{name}='.*'", f"{name}='{value}'", script)
    state = run.run(["bash", "-s"], stdin=script).stdout
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert f"content {tmp_path}/file {digest}\n" in state
    assert re.search(rf"^tree {tmp_path}/link l.*file$", state, re.M)
    assert re.search(r"^package bash ", state, re.M)
    with pytest.raises(CubeError, match="lacks something") as caught:
        equality.require_whole(state, "box")
    assert f"{tmp_path}/none" in caught.value.details


def test_a_state_without_a_part_or_with_a_failure_is_not_whole() -> None:
    whole = "package a\nunit a\nfile a\ncontent a\nsshd a\nfirewall Status: active"
    equality.require_whole(whole, "box")
    for lacking in (whole.replace("sshd a\n", ""), f"{whole}\nfailed x.service"):
        with pytest.raises(CubeError, match="lacks something"):
            equality.require_whole(lacking, "box")


@dataclass
class Desk:
    """A box that is no machine; its sites are round trips."""

    now: str = "tree /etc/a"
    sites: Mapping[int, int] = field(default_factory=lambda: {0: 0, 10: 10})

    def state(self) -> str:
        return self.now


class NoRace(speed.Race):
    """A race on desks; each new one has the state `later`."""

    later = "tree /etc/a"

    @contextmanager
    def fresh(self, *_: object, **__: object) -> Iterator[Any]:
        yield Desk(self.later)


@pytest.fixture
def race(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NoRace:
    def measure(runs: Runs, key: Any, _: object, delay: int, **__: object) -> None:
        runs[key].append(Timing(seconds=1.0 + delay))

    monkeypatch.setattr(tools, "measure", measure)
    monkeypatch.setattr(tools, "apply", lambda *_: None)
    monkeypatch.setattr(equality, "require_whole", lambda *_: None)
    made = NoRace(site=site, base=tmp_path, given=None, names=["cube", "mitogen"])  # type: ignore[arg-type]
    made.boxes = {name: Desk() for name in made.names}  # type: ignore[misc]
    return made


def test_applications_are_counted_by_round_and_round_trip(race: NoRace) -> None:
    race.first(2, [0, 10])
    race.no_op(0, 2)
    counted = {key: len(times) for key, times in race.runs.items()}
    cases = ((speed.FIRST, 0, 2), (speed.FIRST, 10, 1), (speed.NOOP, 0, 2))
    assert counted == {(case, name, at): n for name in race.names for case, at, n in cases}
    text = speed.section(race.runs).markdown()
    assert "| Ansible, mitogen | 1.00 (1.00-1.00, 2) | 1.00 | 11.00 (1) | 1.00 |" in text


def test_the_boxes_of_every_repetition_are_compared(race: NoRace) -> None:
    race.later = "tree /etc/b"
    with pytest.raises(CubeError, match="in different states"):
        race.first(1, [0, 10])


def test_the_relay_makes_the_way_longer_and_loses_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = replace(WAY, port=server.getsockname()[1])
        with (
            boxes.way(near, 100, tmp_path) as way,
            socket.create_connection((way.host, way.port), timeout=20) as client,
            server.accept()[0] as box,
        ):
            started = time.monotonic()
            client.sendall(b"x" * 100_000)
            client.shutdown(socket.SHUT_WR)
            with box.makefile("rb") as received:
                assert received.read() == b"x" * 100_000
            assert 0.05 <= time.monotonic() - started < 5
