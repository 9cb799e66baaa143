"""The parts of the race against Ansible that can be judged without a machine."""

import argparse
import ast
import contextlib
import hashlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import jinja2.meta
import pytest
import yaml

from bench import hosts_table, page, seal_table, speed, table
from bench.peers import application, box_state, cache, charts, equality, playbook, report, targets
from bench.peers.cases import Race
from bench.peers.results import FIRST, NOOP, REBUILD, Results, from_data
from bench.peers.spread import spread, turns
from bench.peers.targets import judge
from bench.peers.variants import VARIANTS, available
from bench.peers.wanted import wanted
from bench.sizes import Change, Cost
from cube import config
from cube.machines import Endpoint
from cube.machines.nspawn.network import free_port
from cube.runtime.errors import CubeError
from cube.runtime.run import Completed

RELAY = Path(speed.__file__).parent / "peers/relay.py"


def results() -> Results:
    made = Results(host={"processors": 2}, load=[0.5, 2.0])
    for seconds in (1.0, 2.0, 9.0):
        made.add(NOOP, "cube", 0, seconds)
    made.add(NOOP, "pipelining", 0, 20.0)
    made.add(NOOP, "mitogen", 0, 30.0)
    made.add(FIRST, "cube", 0, 40.0)
    made.add(FIRST, "mitogen", 0, 50.0)
    return made


def test_a_spread_is_told_by_its_median() -> None:
    found = spread([9.0, 1.0, 2.0])
    assert (found.median, found.least, found.most, found.count) == (2.0, 1.0, 9.0, 3)


def test_no_time_is_no_spread() -> None:
    with pytest.raises(ValueError, match="no time"):
        spread([])


def test_each_round_has_every_variant_once_and_begins_with_another() -> None:
    assert turns(["a", "b"], 3) == [["a", "b"], ["b", "a"], ["a", "b"]]


def test_ratios_are_of_medians() -> None:
    assert results().ratio(NOOP, "pipelining", "cube") == 10.0
    assert results().ratio(NOOP, "pipelining", "cube", 10) is None


def test_results_survive_their_json() -> None:
    again = from_data(json.loads(json.dumps(results().data())))
    assert again.data() == results().data()


def test_targets_are_met_missed_or_not_measured() -> None:
    words = [verdict.word for verdict in judge(results())]
    assert words == ["**missed**", "not measured", "met", "not measured", "**missed**",
                     "not measured", "not measured"]  # fmt: skip


def test_every_target_names_variants_that_are_run() -> None:
    known = {variant.name for variant in VARIANTS} | {report.PACKER, report.PUT_TOGETHER}
    assert {name for one in targets.TARGETS for name in (one.over, one.under)} <= known


def test_the_page_tells_times_ratios_and_targets(tmp_path: Path) -> None:
    file = tmp_path / "bench.md"
    page.add(file, "speed", results().data())
    text = file.read_text()
    assert "| Vault Cube | 2.00 (1.00-9.00, 3) | 1.00 |" in text
    assert "| Ansible, mitogen | 30.00 (1) | 15.00 |" in text
    assert "**missed**" in text
    assert (tmp_path / "bench/noop-0ms.svg").read_text().startswith("<?xml")
    assert json.loads((tmp_path / "bench/speed.json").read_text())["load"] == [0.5, 2.0]


def test_both_of_our_commands_on_the_most_hosts_are_judged() -> None:
    taken = {"cube": (1, 5), "pyinfra": (1, 3), "mitogen": (1, 9)}
    runs = [
        hosts_table.Run(command=name, hosts=hosts, seconds=seconds, cpu_s=1, load=0)
        for name, times in taken.items()
        for hosts, seconds in zip((1, 50), times, strict=True)
    ]
    rows = hosts_table.markdown(hosts_table.figures(runs)).splitlines()
    judged = [row for row in rows if "at most 4" in row]
    assert [row.split("|")[1].strip() for row in judged] == ["cube apply", "pyinfra -y --no-wait"]
    assert [row.rpartition("4: ")[2] for row in judged] == ["MISSED |", "met |"]


def test_the_page_keeps_what_other_benchmarks_have_added(tmp_path: Path) -> None:
    file = tmp_path / "bench.md"
    runs = [
        hosts_table.Run(command="cube", hosts=hosts, seconds=hosts, cpu_s=1, load=0)
        for hosts in (1, 50)
    ]
    variants = [
        seal_table.Figure(name="specification", seconds=[80.0, 80.0], size=100),
        seal_table.Figure(name="seal", seconds=[20.0, 20.0], size=80),
        seal_table.Figure(name=seal_table.JUDGED, seconds=[40.0, 40.0], size=80),
    ]
    change = Change(written=4, clusters=8, cleared=0)
    built = [table.Figure(case="full", what="full build", seconds=9.0)]
    costs = [Cost(name="base", file=5, flat=9, change=change)]
    page.add(file, "chain", table.as_json(built, costs, {"processors": 2}))
    page.add(file, "seal", seal_table.as_json(variants, used=10**6, load=0))
    page.add(file, "hosts", hosts_table.as_json(runs, stand_ins=True))
    page.add(file, "speed", results().data())
    text = file.read_text()
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    assert heads == ["## Against Ansible", "## Many hosts", "## The seal", "## The layer chain"]
    assert "50.0 (50.0-50.0) | 50.0" in text
    assert "at most 4: MISSED" in text
    assert "What bounds it: a host more costs `cube apply` a login" in text
    assert "4.0x as fast as the specification's (at least 8x: missed)" in text
    assert "clusters of 2 MiB are the largest that qcow2 knows" in text
    assert "it takes 40.0 s, 2.0x as fast as the specification's" in text
    assert (tmp_path / "bench/hosts.svg").read_text().count(charts.OURS) == 1
    assert "(bench/seal.svg)" in text
    assert "| full build | 9.0 |" in text
    assert page.render(tmp_path / "bench") == text


def test_what_an_earlier_run_measured_is_kept_but_for_the_cases_of_this_one() -> None:
    earlier, now = results(), Results(missing={})
    earlier.missing = {REBUILD: "no build", "Ansible, as installed": "not installed"}
    now.add(FIRST, "pipelining", 0, 70.0)  # what a rebuild is compared with
    now.add(REBUILD, "cube", 0, 20.0)
    now.keep(earlier, but=[REBUILD])
    assert now.of(REBUILD, "cube")
    assert {place for place in now.seconds if place[0] != REBUILD} == {
        place for place in earlier.seconds if place[0] != REBUILD
    }
    assert now.missing == {"Ansible, as installed": "not installed"}


def test_nothing_can_be_kept_of_a_page_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CubeError, match="nothing to keep"):
        page.data(tmp_path / "bench.md", "speed")


def test_a_plot_of_the_same_figures_is_the_same() -> None:
    one, other = (report.plot(results(), NOOP, 0) for _ in range(2))
    assert one == other
    assert one.count(charts.OURS) == 1


def test_a_variant_whose_switch_nothing_reads_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "cube").mkdir()
    names, missing = available(["cube", "cube-stock"], tmp_path)
    assert names == ["cube"]
    assert missing == {"Vault Cube, stock connection": "no source reads cube_shell"}
    (tmp_path / "deploy/fast.py").write_text("host.data.cube_shell")
    assert available(["cube", "cube-stock"], tmp_path) == (["cube", "cube-stock"], {})


STATE: dict[str, Any] = {
    "files": {"/etc/a": "0o100644 0 0 aa"},
    "trees": {"/etc/a": "0o100644 0 0 aa", "/etc/machine-id": "0o100444 0 0 bb"},
    "packages": {"ufw": "1"},
    "accounts": {"cube": {"shell": "/bin/bash"}},
    "failed": [],
    "firewall": ["Status: active"],
    "upgrade": [],
    "kernel": {},
}


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("files", "/etc/a", "0o100600 0 0 aa"),
        ("trees", "/etc/left", "0o100644 0 0 aa"),
        ("packages", "ufw", "2"),
        ("packages", "more", "1"),
        ("accounts", "cube", {"shell": "/bin/sh"}),
    ],
)
def test_every_kind_of_difference_is_seen(part: str, name: str, value: object) -> None:
    other = {**STATE, part: {**STATE[part], name: value}}
    assert [line.split(": ")[:2] for line in equality.differences(STATE, other)] == [[part, name]]
    with pytest.raises(CubeError, match="1 differences"):
        equality.require_same(STATE, other, ("one", "other"))


def test_what_each_machine_has_of_its_own_may_differ() -> None:
    other = {**STATE, "trees": {**STATE["trees"], "/etc/machine-id": "0o100444 0 0 cc"}}
    equality.require_same(STATE, other, ("one", "other"))


def test_an_empty_state_is_no_proof() -> None:
    empty = {**STATE, "trees": {}}
    with pytest.raises(CubeError, match="different states"):
        equality.require_same(empty, empty, ("one", "other"))


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"/etc/a": "FileNotFoundError"}},
        {"accounts": {"cube": None}},
        {"failed": ["x.service loaded failed failed"]},
        {"firewall": ["Status: inactive"]},
        {"upgrade": ["Inst libc6"]},
    ],
)
def test_a_box_that_lacks_something_is_refused(change: dict[str, Any]) -> None:
    equality.require_whole(STATE, "one")
    with pytest.raises(CubeError, match="lacks something"):
        equality.require_whole({**STATE, **change}, "one")


@dataclass
class Desk:
    """A box that is no machine: its state, and what the next applications change."""

    now: dict[str, Any]
    changes: list[int]

    def state(self, look: object) -> dict[str, Any]:
        del look
        return self.now


class NoRace(Race):
    """A race whose boxes are desks; each new one has the state that `later` says."""

    later: ClassVar[dict[str, Any]] = STATE

    @contextlib.contextmanager
    def fresh(self, *_: object, **__: object) -> Iterator[Any]:
        yield Desk(self.later, [1, 0, 0, 0])


@pytest.fixture
def race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NoRace:
    def apply(variant: object, box: Desk, delay_ms: int, shop: object) -> application.Applied:
        return application.Applied(seconds=1.0 + delay_ms, changed=box.changes.pop(0))

    monkeypatch.setattr(application, "apply", apply)
    shop = application.Workshop(folder=tmp_path, venv=tmp_path, spec=a_spec(tmp_path))
    names = ["cube", "mitogen"]
    made = NoRace(shop=shop, base=tmp_path, cache=(1, tmp_path), names=names, results=Results())
    made.boxes = {name: Desk(STATE, [1, 0, 0, 0]) for name in names}  # type: ignore[misc]
    return made


def test_applications_are_counted_by_round_and_round_trip(race: NoRace) -> None:
    race.first(2, [0, 10])
    race.no_op(0, 2)
    counted = {place: len(seconds) for place, seconds in race.results.seconds.items()}
    assert counted == {
        (case, name, delay): count
        for name in race.names
        for case, delay, count in ((FIRST, 0, 2), (FIRST, 10, 1), (NOOP, 0, 2))
    }


def test_a_first_application_that_changes_nothing_is_no_figure(race: NoRace) -> None:
    race.boxes["mitogen"].changes[0] = 0  # type: ignore[attr-defined]
    with pytest.raises(CubeError, match="mitogen, first: 0 changes"):
        race.first(1)


def test_a_no_op_that_changes_something_is_no_figure(race: NoRace) -> None:
    race.first(1)
    race.boxes["cube"].changes[:] = [0, 2]  # type: ignore[attr-defined]
    with pytest.raises(CubeError, match="cube, noop: 2 changes"):
        race.no_op(0, 1)


@pytest.mark.parametrize("rounds", [1, 2])
def test_the_boxes_of_every_repetition_are_compared(race: NoRace, rounds: int) -> None:
    race.later = {**STATE, "packages": {"ufw": "2"}}  # type: ignore[misc]
    with pytest.raises(CubeError, match="leave different states"):
        race.first(rounds, [0, 10])


def test_paths_are_described_by_kind_mode_owner_and_content(tmp_path: Path) -> None:
    file, link = tmp_path / "a", tmp_path / "l"
    file.write_text("x")
    file.chmod(0o640)
    link.symlink_to("a")
    owner = f"{file.stat().st_uid} {file.stat().st_gid}"
    found = box_state.tree(tmp_path)
    assert found[str(file)] == f"0o100640 {owner} {hashlib.sha256(b'x').hexdigest()}"
    assert found[str(link)].endswith(" a")
    assert box_state.describe(tmp_path / "none") == "FileNotFoundError"


def test_the_script_on_the_box_imports_nothing_of_ours() -> None:
    tree = ast.parse(Path(box_state.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
             for alias in node.names}  # fmt: skip
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
    assert "json" in names


def test_units_and_packages_are_read() -> None:
    text = "Id=a.service\nActiveState=active\n\nId=b.service\nActiveState=inactive\n"
    assert box_state.units(text)["b.service"] == {"ActiveState": "inactive"}
    assert box_state.packages("a 1 ii \nb 2 rc \n") == {"a": "1 ii "}


def test_ansible_is_believed_only_by_a_recap_without_failures() -> None:
    recap = "box : ok=40   changed=3    unreachable=0    failed={}    skipped=5"
    done = Completed(returncode=0, stdout=recap.format(0), stderr="")
    assert application.ansible_changed(done) == 3
    for bad in (recap.format(1), ""):
        with pytest.raises(CubeError, match="recap"):
            application.ansible_changed(Completed(returncode=0, stdout=bad, stderr=""))


def test_apt_alone_is_counted_by_what_it_sets_up() -> None:
    text = "Unpacking git (1) ...\nSetting up git (1) ...\nSetting up ufw (2) ...\n"
    assert application.apt_changed(Completed(returncode=0, stdout=text, stderr="")) == 2
    assert application.apt_changed(Completed(returncode=0, stdout="", stderr="")) == 0


def test_pyinfra_is_believed_only_by_its_summary() -> None:
    line = "    Grand total      46           {}         10          -     "
    assert application.count_summary(line.format("37")) == 37
    assert application.count_summary(line.format("-")) == 0
    with pytest.raises(CubeError, match="no summary"):
        application.count_summary("nothing")


#: What an Ansible task has without being given: facts, the item of a loop, what is registered.
OF_ANSIBLE = {"ansible_facts", "item"}
#: Keys whose text is an expression, without braces.
EXPRESSIONS = {"when", "that", "changed_when", "failed_when"}


def books() -> dict[Path, Any]:
    return {file: yaml.safe_load(file.read_text()) for file in playbook.FOLDER.rglob("*.yml")}


def texts(node: Any, key: str = "") -> Iterator[str]:
    """Yield every text of a playbook; an expression gets the braces that Ansible thinks of."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from texts(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value, key)
    elif isinstance(node, str):
        yield f"{{{{ {node} }}}}" if key in EXPRESSIONS else node


def read_by(text: str) -> set[str]:
    environment = jinja2.Environment()
    environment.filters |= {"to_nice_json": str}  # of Ansible
    environment.tests["changed"] = environment.tests["defined"]
    return jinja2.meta.find_undeclared_variables(environment.parse(text))


def test_the_playbook_reads_only_variables_that_it_is_given_and_each_of_them(
    tmp_path: Path,
) -> None:
    given = {*playbook.variables(a_spec(tmp_path)), "fact_subset"}
    all_texts = [text for book in books().values() for text in texts(book)]
    named = "".join(file.read_text() for file in playbook.FOLDER.rglob("*.yml"))
    registered = set(re.findall(r"register: (\w+)", named))
    templates = re.findall(r"\{\{ templates \}\}/([\w./-]+)", named)
    all_texts += [(playbook.DEPLOY / "templates" / name).read_text() for name in templates]
    read = set().union(*(read_by(text) for text in all_texts))
    assert read - OF_ANSIBLE - registered == given
    assert len(templates) == 5


def test_every_file_that_the_playbook_copies_is_ours() -> None:
    found = {
        text.replace("{{ item }}", str(item)).replace("{{ item.src }}", str(item))
        for book in books().values()
        for task in (book if isinstance(book, list) else [])
        for item in [one.get("src") if isinstance(one, dict) else one
                     for one in task.get("loop", [""])]
        for text in texts(task)
        if "{{ files }}/" in text
    }  # fmt: skip
    assert len(found) > 8
    for text in found:
        assert Path(text.replace("{{ files }}", str(playbook.DEPLOY / "files"))).is_file(), text


def test_the_inventory_leads_to_the_box(tmp_path: Path) -> None:
    access = Endpoint(
        host="127.0.0.1", port=7, user="u", key_file=Path("/k"), known_hosts=Path("/h")
    )
    read = yaml.safe_load(playbook.inventory({"box": access}, {"locale": "C"}))["all"]
    assert read["hosts"]["box"]["ansible_port"] == 7
    assert read["vars"] == {"locale": "C"}


def test_what_the_one_script_looks_at_has_no_trees(tmp_path: Path) -> None:
    loaded = a_spec(tmp_path)
    assert wanted(loaded, trees=False)["trees"] == []
    assert "/etc" in wanted(loaded, trees=True)["trees"]


def a_spec(folder: Path) -> config.Spec:
    file = folder / "cube.toml"
    file.write_text('[admin]\nuser = "ada"\n')
    return config.load(file)


@pytest.mark.parametrize("text", ["x", "first,x", ""])
def test_an_unknown_case_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="choose of"):
        speed.Words(speed.CASES)(text)


@pytest.mark.parametrize("text", ["x", "-1", ""])
def test_a_round_trip_is_a_whole_number(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        speed.numbers(text)


def test_round_trips_are_sorted() -> None:
    assert speed.numbers("50,0") == [0, 50]


class Archive(BaseHTTPRequestHandler):
    """Counts what it is asked for."""

    asked = 0

    def do_GET(self) -> None:
        Archive.asked += 1
        self.send_response(200 if self.path == "/there" else 404)
        self.end_headers()
        self.wfile.write(b"package")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def archive() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Archive) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_cache_asks_an_archive_once(tmp_path: Path, archive: str) -> None:
    Archive.asked = 0
    with cache.Cache(0, tmp_path) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = urllib.request.ProxyHandler({"http": f"http://127.0.0.1:{server.server_port}"})
        opener = urllib.request.build_opener(proxy)
        for _ in range(2):
            with opener.open(f"{archive}/there") as answer:
                assert answer.read() == b"package"
        with pytest.raises(urllib.error.HTTPError) as missing:
            opener.open(f"{archive}/none")
        missing.value.close()
        assert missing.value.code == 404
        server.shutdown()
    assert Archive.asked == 2


@pytest.fixture
def echo() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                while data := connection.recv(1024):
                    connection.sendall(data)

        threading.Thread(target=answer, daemon=True).start()
        yield int(server.getsockname()[1])


def test_the_relay_makes_the_way_longer_and_loses_nothing(echo: int) -> None:
    port = free_port()
    argv = [sys.executable, str(RELAY), str(port), str(echo), "100"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as relay:
        try:
            with connect(port) as client:
                client.sendall(b"warm")
                received(client, 4)
                started = time.monotonic()
                client.sendall(b"x" * 100_000)
                assert received(client, 100_000) == b"x" * 100_000
                assert 0.1 <= time.monotonic() - started < 5
        finally:
            relay.kill()


def connect(port: int) -> socket.socket:
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=20)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def received(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        block = client.recv(1 << 16)
        assert block, f"the connection ended after {len(data)} of {count} bytes"
        data += block
    return data
