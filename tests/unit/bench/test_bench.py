"""The benchmarks without their hours: on tiny disks, with fakes for boxes and builds."""

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jinja2.meta
import pytest
import yaml

from bench import (
    boxes,
    chain,
    equality,
    hosts,
    measure,
    page,
    playbook,
    project,
    rebuild,
    seal,
    sizes,
    speed,
    tools,
)
from bench.measure import PROJECT
from bench.page import Section, Target
from bench.tools import VARIANTS, Shop
from cube import config
from cube.baseimage.packer import check, inputs, tool
from cube.chain.key import keys
from cube.disks import qcow2
from cube.machines import Endpoint
from cube.runtime import run
from cube.runtime.errors import CubeError
from cube.seal import sealing as seals
from cube.supply.package_cache import PackageCache
from deploy.connector.ssh import DATA_META
from tests.integration import standin_archives
from tests.unit.chain import samples

WAY = Endpoint(host="127.0.0.1", port=7, user="u", key_file=Path("/k"), known_hosts=Path("/h"))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    file = tmp_path / "cube.toml"
    file.write_text(
        f'[admin]\nuser = "ada"\nssh_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{"A" * 43}"]\n'
    )
    return Shop(folder=tmp_path, venv=tmp_path / "venv", spec=config.load(file))


# -- times


def test_a_command_is_timed_and_its_output_kept(tmp_path: Path) -> None:
    argv = ["sh", "-c", "cat; pwd; echo $WORD >&2; sleep 0.2"]
    done = measure.timed(argv, env={"WORD": "told"}, cwd=tmp_path, stdin="given\n")
    assert done.output.split() == ["given", str(tmp_path), "told"]
    assert 0.1 < done.seconds < 10
    assert 0 <= done.cpu_s < 1


def test_a_command_that_fails_is_no_figure() -> None:
    with pytest.raises(CubeError, match="failed") as caught:
        measure.timed(["sh", "-c", "echo why; exit 3"])
    assert caught.value.details == "why"


def test_each_round_has_every_name_once_and_begins_with_another() -> None:
    assert measure.turns(["a", "b"], 3) == [["a", "b"], ["b", "a"], ["a", "b"]]


def test_runs_are_told_by_their_median_and_compared_by_it() -> None:
    assert measure.spread([9.0, 1.0, 2.0]) == "2.00 (1.00-9.00, 3)"
    assert measure.spread([9.0]) == "9.00 (1)"
    assert measure.ratio([9.0, 1.0, 2.0], [4.0]) == 0.5
    assert measure.ratio([], [4.0]) is None


# -- the page


def test_the_page_is_what_its_data_give(tmp_path: Path) -> None:
    kept = PROJECT / "docs/bench"
    folder = shutil.copytree(kept, tmp_path / "bench")
    assert page.render(folder) == (PROJECT / "docs/bench.md").read_text()
    assert {one.name for one in folder.iterdir()} == {one.name for one in kept.iterdir()}
    assert all(one.read_text() == (kept / one.name).read_text() for one in folder.glob("*.svg"))


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [(1, False, "met"), (3, False, "**missed**"), (3, True, "met"), (None, True, "not measured")],
)
def test_a_target_is_met_missed_or_not_measured(
    value: float | None, at_least: bool, verdict: str
) -> None:
    target = Target(what="x", bound=2, value=value, at_least=at_least, limit="physics")
    assert verdict in target.row()
    assert ("physics" in target.row()) is (verdict == "**missed**")


def test_a_section_is_kept_beside_the_page_with_its_runs_and_plots(tmp_path: Path) -> None:
    made = Section(text="Text.", host={"processors": 2}, ours=["us"], load=[0.5, 2.0], runs=[1, 2])
    made.plots["Plot"] = {"us": [1.0], "them": [2.0, 3.0]}
    page.publish("seal", made, tmp_path / "bench.md")
    text = (tmp_path / "bench.md").read_text()
    assert "Measured on: processors 2, load of the machine 0.5-2.0." in text
    assert (tmp_path / "bench/seal-1.svg").read_text().count(page.OURS) == 1
    assert json.loads((tmp_path / "bench/seal.json").read_text())["runs"] == [1, 2]


def test_every_target_names_lines_of_the_page() -> None:
    named = {(one["case"], one[side]) for one in speed.TARGETS for side in ("over", "under")}
    assert {case for case, _ in named} <= {*speed.TITLES}
    assert {name for _, name in named} <= {*speed.LABELS}


@pytest.mark.parametrize("module", [speed, hosts, seal, chain])
def test_a_program_refuses_what_it_does_not_know(
    module: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--help"], ["--cases", "x"], ["--counts", "x"]):
        with pytest.raises(SystemExit) as caught:
            module.main(words)
        assert (caught.value.code == 0) is (words == ["--help"])
    assert "usage" in capsys.readouterr().out


# -- boxes and tools


def test_states_are_compared_but_for_what_may_differ() -> None:
    one = "tree /etc/a -rw a\ntree /etc/machine-id x\ncontent /etc/shadow- x\npackage ufw 1"
    equality.require_same(one, one.replace(" x", " y"), ("a", "b"))
    for line in ("package ufw 2", "tree /etc/left -rw", "member docker ada"):
        with pytest.raises(CubeError, match="different states: 1 lines"):
            equality.require_same(one, f"{one}\n{line}", ("a", "b"))


def test_a_state_is_read_and_what_lacks_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    text = re.sub(
        r"FILES='.*'",
        f"FILES='{tmp_path}/file {tmp_path}/none'",
        equality.script(trees=True, upgrade=False),
    )
    text = re.sub(r"TREES='.*'", f"TREES='{tmp_path}'", text)
    state = subprocess.run(["bash", "-s"], input=text, capture_output=True, text=True, check=False)
    lines = state.stdout.splitlines()
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert f"content {tmp_path}/file {digest}" in lines
    assert any(
        line.startswith(f"tree {tmp_path}/link l") and line.endswith("file") for line in lines
    )
    assert any(line.startswith("package bash ") for line in lines)
    with pytest.raises(CubeError, match="lacks something") as caught:
        equality.require_whole(state.stdout, "box")
    assert f"{tmp_path}/none" in caught.value.details
    whole = "package a\nunit a\nfile a\ncontent a\nsshd a\nfirewall Status: active"
    equality.require_whole(whole, "box")
    for more in ("failed x.service", "upgrade libc6"):
        with pytest.raises(CubeError, match="lacks something"):
            equality.require_whole(f"{whole}\n{more}", "box")


RECAP = "a : ok=4  changed={}  unreachable=0  failed=0  skipped=0\n"
TOTAL = "    Grand total      46           {}         10          -     "


@pytest.mark.parametrize(
    ("name", "output", "changed"),
    [
        ("cube", TOTAL.format("37"), 37), ("cube", TOTAL.format("-"), 0), ("cube", "x", None),
        ("plain", RECAP.format(3), 3), ("plain", "", None),
        ("plain", RECAP.format(0).replace("failed=0", "failed=1"), None),
        ("apt", "Unpacking a\nSetting up a (1) ...\nSetting up b (2) ...\n", 2),
    ],
)  # fmt: skip
def test_a_tool_is_believed_by_what_it_says_in_the_end(
    name: str, output: str, changed: int | None
) -> None:
    read = VARIANTS[name].changes
    assert read
    if changed is None:
        with pytest.raises(CubeError):
            read(output)
    else:
        assert read(output) == changed


LAYERS: list[dict[str, list[str]]] = [{"changed": []}]
APPLIED = json.dumps({"kind": "hosts", "hosts": [{"layers": LAYERS}, {"layers": LAYERS}]})


@pytest.mark.parametrize(
    ("name", "output", "still"),
    [
        ("cube apply", APPLIED, True),
        ("cube apply", APPLIED.replace("[]", '["x"]', 1), False),
        ("cube apply", json.dumps({"kind": "hosts", "hosts": [{"layers": LAYERS}]}), False),
        ("pyinfra", "[a] No changes\n[b] No changes\n", True),
        ("pyinfra", "[a] No changes\n", False),
        ("pyinfra", "[a] No changes\n[b] No changes\n[b] Success\n", False),
        ("mitogen", RECAP.format(0) * 2, True),
        ("mitogen", RECAP.format(0), False),
        ("pipelining", RECAP.format(0) + RECAP.format(1), False),
        ("pipelining", RECAP.format(0) * 2 + "unreachable", True),
    ],
)
def test_only_a_run_without_a_change_on_all_hosts_counts(
    name: str, output: str, still: bool
) -> None:
    assert tools.still(name, output, ["a", "b"]) is still


def test_commands_for_many_hosts_name_each_of_them(shop: Shop, tmp_path: Path) -> None:
    access = {name: replace(WAY, host=name) for name in ("a", "b")}
    argvs = {name: tools.on_hosts(name, access, tmp_path, shop)[0] for name in hosts.LABELS}
    assert argvs["mitogen"][-4:] == ["--forks", "2", "--limit", "a,b"]
    assert argvs["login"][2].count("u@") == 2
    assert argvs["pyinfra"].count("--limit") == 2
    assert argvs["cube apply"][2:4] == ["a", "b"]


def test_the_switches_of_the_stock_connection_are_the_connectors() -> None:
    assert {word.partition("=")[0] for word in tools.STOCK[1::2]} <= {*DATA_META}


def test_one_box_is_reached_in_the_same_way_by_all(shop: Shop, tmp_path: Path) -> None:
    box = boxes.Box(name="box", machine=None, folder=tmp_path, ways={0: WAY}, packages="ufw git")  # type: ignore[arg-type]
    built = {name: one.build(one, box, 0, shop) for name, one in VARIANTS.items()}
    assert json.loads((tmp_path / "machine-0.json").read_text())["endpoint"]["port"] == 7
    told = yaml.safe_load((tmp_path / "inventory-0.yml").read_text())["all"]
    assert told["hosts"]["box"]["ansible_port"] == 7
    assert "install ufw git" in built["apt"][0][-1]
    assert "TREES=''" in built["script"][2]
    assert "ANSIBLE_STRATEGY" not in built["pipelining"][1]


@dataclass
class Desk:
    """A box that is no machine: its state, and what the next applications change."""

    now: str = "tree /etc/a"
    changes: list[int] = field(default_factory=lambda: [1, 0, 0, 0])

    def state(self) -> str:
        return self.now


class NoRace(speed.Race):
    """A race on desks; each new one has the state `later`."""

    later = "tree /etc/a"

    @contextmanager
    def fresh(self, *_: object, **__: object) -> Iterator[Any]:
        yield Desk(self.later)


@pytest.fixture
def race(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NoRace:
    monkeypatch.setattr(tools, "apply", lambda _, box, delay, __: (1.0 + delay, box.changes.pop(0)))
    monkeypatch.setattr(equality, "require_whole", lambda *_: None)
    made = NoRace(shop=shop, base=tmp_path, given=None, names=["cube", "mitogen"])  # type: ignore[arg-type]
    made.boxes = {name: Desk() for name in made.names}  # type: ignore[misc]
    return made


def test_applications_are_counted_by_round_and_round_trip(race: NoRace) -> None:
    race.first(2, [0, 10])
    race.no_op(0, 2)
    counted = {key: len(seconds) for key, seconds in race.seconds.items()}
    cases = ((speed.FIRST, 0, 2), (speed.FIRST, 10, 1), (speed.NOOP, 0, 2))
    assert counted == {(case, name, at): n for name in race.names for case, at, n in cases}
    text = speed.section(race.seconds, race.load, {}).markdown()
    assert "| Ansible, mitogen | 1.00 (1.00-1.00, 2) | 1.00 | 11.00 (1) | 1.00 |" in text


@pytest.mark.parametrize(
    ("changes", "told"),
    [([0, 0, 0], "mitogen, first: 0 changes"), ([1, 0, 2], "mitogen, noop: 2 changes")],
)
def test_a_run_that_changed_what_it_should_not_is_no_figure(
    race: NoRace, changes: list[int], told: str
) -> None:
    race.boxes["mitogen"].changes = changes  # type: ignore[attr-defined]

    def both() -> None:
        race.first(1)
        race.no_op(0, 1)

    with pytest.raises(CubeError, match=told):
        both()


@pytest.mark.parametrize("rounds", [1, 2])
def test_the_boxes_of_every_repetition_are_compared(race: NoRace, rounds: int) -> None:
    race.later = "tree /etc/b"
    with pytest.raises(CubeError, match="leave different states"):
        race.first(rounds, [0, 10])


def test_the_relay_makes_the_way_longer_and_loses_nothing(tmp_path: Path) -> None:
    def echo(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=echo, args=(server,), daemon=True).start()
        near = replace(WAY, port=server.getsockname()[1])
        with (
            boxes.way(near, 100, tmp_path) as way,
            socket.create_connection((way.host, way.port), timeout=20) as client,
            client.makefile("rb") as answers,
        ):
            client.sendall(b"warm")
            assert answers.read(4) == b"warm"
            started = time.monotonic()
            client.sendall(b"x" * 100_000)
            assert answers.read(100_000) == b"x" * 100_000
            assert 0.1 <= time.monotonic() - started < 5


# -- the playbook

#: What an Ansible task has without being given: facts, the item of a loop.
OF_ANSIBLE = {"ansible_facts", "item"}


def playbooks() -> str:
    return "".join(file.read_text() for file in sorted(playbook.FOLDER.rglob("*.yml")))


def read_by(text: str) -> set[str]:
    environment = jinja2.Environment()
    environment.filters |= {"to_nice_json": str}  # of Ansible
    environment.tests["changed"] = environment.tests["defined"]
    return jinja2.meta.find_undeclared_variables(environment.parse(text))


def test_the_playbook_reads_only_variables_that_it_is_given_and_each_of_them(shop: Shop) -> None:
    text = playbooks()
    given = {*playbook.variables(shop.spec), "fact_subset"}
    registered = {*re.findall(r"register: (\w+)", text)}
    templates = re.findall(r"\{\{ templates \}\}/([\w./-]+)", text)
    texts = [(playbook.DEPLOY / "templates" / name).read_text() for name in templates]
    expressions = [f"{{{{ {one} }}}}" for one in re.findall(r"(?:when|that): (.*)", text)]
    read = set().union(*(read_by(one) for one in [text, *texts, *expressions]))
    assert read - OF_ANSIBLE - registered == given
    assert len(templates) == 6


def written() -> Iterator[tuple[str, str]]:
    """Yield source and target of each file that the playbook writes, items of loops put in."""
    for file in playbook.FOLDER.rglob("tasks/main.yml"):
        for task in yaml.safe_load(file.read_text()):
            kinds = ("copy", "template", "lineinfile")
            for found in filter(None, (task.get(f"ansible.builtin.{kind}") for kind in kinds)):
                for item in task.get("loop", [""]):
                    both = str(found.get("src")), str(found.get("dest") or found.get("path"))
                    values = item if isinstance(item, dict) else {"src": item, "dest": item}
                    yield tuple(
                        re.sub(r"\{\{ item\S* \}\}", str(values[key]), one)
                        for key, one in zip(("src", "dest"), both, strict=True)
                    )  # type: ignore[misc]


def test_every_file_that_the_playbook_copies_is_ours() -> None:
    copied = [one.split("}}/")[1] for one, _ in written() if one.startswith("{{ files }}")]
    assert len(copied) > 15
    assert [one for one in copied if not (playbook.DEPLOY / "files" / one).is_file()] == []


def test_the_playbook_writes_every_file_that_layer_1_writes() -> None:
    golden = (PROJECT / "tests/golden/layer1-debian-13.txt").read_text()
    ours = {one for one in re.findall(r"readlink -f ([^)]+)", golden) if "cube-build" not in one}
    # Time servers are not set in what is measured; what a role has written is a note of ours.
    ours -= {"/etc/systemd/timesyncd.conf.d/50-cube.conf", "/var/lib/cube/docker.json"}
    assert len(ours) > 20
    assert ours - {target for _, target in written()} == set()


def test_packer_takes_the_template_and_the_playbooks_variables(shop: Shop, tmp_path: Path) -> None:
    packages = PackageCache(url="", guest_url="http://10.0.2.2:1")
    (tmp_path / "wheels").mkdir()
    given = boxes.Sources(packages=packages, wheels=tmp_path / "wheels")
    more = rebuild.variables(shop, given, tmp_path)
    told = json.loads(more.read_text())
    values = json.loads(Path(told["ansible_variables"]).read_text())
    assert values.items() >= playbook.variables(shop.spec).items()
    assert "ANSIBLE_PIPELINING=1" in told["ansible_environment"]
    template = rebuild.write_template(tmp_path / "template")
    if tool.version() >= tool.PLUGINS_SINCE:
        pytest.skip("the Ansible provisioner is a plugin in this Packer")
    program = shop.venv / "bin/ansible-playbook"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'ansible-playbook [core 2.19.0]'\n")
    program.chmod(0o755)
    values = check.sample_values(shop.spec, playbook.OS, tmp_path)
    ours = inputs.write(values, tmp_path / "ours.json")
    argv = ["validate", f"-var-file={ours}", f"-var-file={more}", str(template)]
    tool.call(argv, work=tmp_path, cache=tmp_path / "cache", timeout_s=60)


# -- the chain

#: Plays one run after the other: prints its records, then ends or waits to be killed.
ACTOR = """\
import json, pathlib, signal, sys
script = pathlib.Path("script.json")
first, *rest = json.loads(script.read_text())
script.write_text(json.dumps(rest))
for record in first["records"]:
    print(json.dumps(record), flush=True)
if first.get("wait"):
    signal.pause()
sys.exit(first.get("code", 0))
"""
KILLED = {"records": [{"kind": "operation", "text": "x", "layer": 5}], "wait": True}


@pytest.fixture
def copied(tmp_path: Path) -> project.Project:
    """A copy of a project whose `cube` is an actor, with links of layers 1 and 5."""
    source = tmp_path / "source"
    for name in ("cube", "deploy/roles", ".git", "build", "tests"):
        (source / name).mkdir(parents=True)
    (source / "cube/__main__.py").write_text(ACTOR)
    (source / "deploy/roles/monitoring.py").write_text('"""Role."""\n')
    (source / "cube.toml").write_text("")
    made = project.copy(tmp_path / "copy", source / "cube.toml", source=source)
    assert {one.name for one in made.folder.iterdir()} == {"cube", "deploy", "cube.toml"}
    made.work.root.mkdir(parents=True)
    made.store.prepare()
    layer1 = samples.add_layer(made.store, 1, samples.add_base(made.store))
    samples.skip_layer(made.store, 3, layer1)
    made.store.set_head(samples.add_layer(made.store, 5, layer1))
    return made


def play(copied: project.Project, *runs: dict[str, Any]) -> chain.Bench:
    (copied.folder / "script.json").write_text(json.dumps(runs))
    return chain.Bench(project=copied, full_s=100.0)


def result(*reused: str, made: bool = True) -> dict[str, Any]:
    return {"records": [{"kind": "result", "made": made, "reused": reused}]}


def test_every_case_has_its_row(copied: project.Project) -> None:
    below = result("base", "layer1")
    again = result("base", "layer1", "layer5", made=False)
    bench = play(copied, result(), again, below, KILLED, below)
    for case in chain.CASES[:5]:
        bench.run(case)
    assert bench.rows["full"][2] == "100.0%"
    assert bench.rows["layer5"][3] == "changed: monitoring.py"
    assert bench.rows["layer3"][3] == "not measured: layer 3 is skipped here: no GPU"
    assert bench.rows["resume"][3].endswith("at the first operation of layer 5")
    assert [one.what for one in bench.targets] == [
        "no-change, seconds",
        "layer5, share of the full build",
    ]


@pytest.mark.parametrize(
    ("case", "played", "told"),
    [
        ("full", result("base"), r"reused \['base'\], expected was \[\]"),
        ("no-change", result("base"), "made something anew"),
        ("layer5", result("base"), r"expected was \['base', 'layer1'\]"),
        ("full", {"records": []}, "printed no result"),
        ("full", {**result(), "code": 4}, "failed"),
        ("resume", {"records": []}, "did not reach layer 5"),
    ],
)
def test_a_build_that_does_not_prove_itself_is_no_figure(
    copied: project.Project, case: str, played: dict[str, Any], told: str
) -> None:
    bench = play(copied, played)
    with pytest.raises(CubeError, match=told):
        bench.run(case)
    assert bench.rows == {}


def test_a_build_folder_outside_of_the_copy_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    file = tmp_path / "cube.toml"
    file.write_text(f'[build]\ndir = "{tmp_path}/build"\n')
    with pytest.raises(CubeError, match="not inside of the copy"):
        project.copy(tmp_path / "copy", file, source=tmp_path / "source")


def test_a_touched_role_changes_the_key_of_its_layer_and_no_other(tmp_path: Path) -> None:
    values = {"enabled": standin_archives.LAYERS, "mode": '"assume"'}
    rewrite = partial(standin_archives.rewrite, values=values)
    made = project.copy(tmp_path / "copy", PROJECT / "cube.toml", rewrite=rewrite)
    assert (made.spec.layers.enabled, made.spec.gpu.mode) == ((1, 2, 3, 5), "assume")
    ingredients = partial(keys.layer_ingredients, parent="", refresh="never", project=made.folder)
    before = [keys.digest(ingredients(made.spec, layer)) for layer in (1, 5)]
    role = made.touch(5)
    after = [keys.digest(ingredients(made.spec, layer)) for layer in (1, 5)]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False]
    run.run([sys.executable, "-m", "ruff", "check", "--no-cache", role], cwd=made.folder)


def test_a_link_is_held_to_the_blocks_that_it_changed(tmp_path: Path) -> None:
    base, link, scratch = (tmp_path / name for name in ("base.qcow2", "link.qcow2", "scratch"))
    scratch.mkdir()
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", base, "1M"])
    run.run(["qemu-io", "-c", "write -P 1 0 128k", base])
    qcow2.create_overlay(link, base)
    # One block is new (qcow2 copies its cluster), a cluster says the same, a block is cleared, and
    # two blocks are where nothing was.
    writes = ("-P 2 0 4k", "-P 1 64k 64k", "-P 0 8k 4k", "-P 3 512k 8k")
    run.run(["qemu-io", *(word for one in writes for word in ("-c", f"write {one}")), link])
    below, above = sizes.measure([("base", base), ("link", link)], scratch)
    kib = 1024
    assert (below.written, below.cleared, below.clusters) == (128 * kib, 0, 128 * kib)
    assert (above.written, above.cleared, above.clusters) == (12 * kib, 4 * kib, 128 * kib)
    assert (below.flat, above.flat) == (128 * kib, 132 * kib)
    assert above.ratio == link.stat().st_blocks * 512 / (12 * kib)
    assert list(scratch.iterdir()) == []


# -- the seal


def test_ours_is_what_the_seal_does_and_the_peer_the_specifications_words(tmp_path: Path) -> None:
    source, sealed, target = (tmp_path / name for name in ("disk", "sealed", "target"))
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", source, "64M"])
    run.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 8M 5M", source])
    seals.flatten(source, sealed)
    seal.write(seal.CHECKED, source, tmp_path / "raw", target)
    assert target.read_bytes() == sealed.read_bytes()
    words = ["qemu-img", "convert", "-O", "qcow2", "-c", "SOURCE", "TARGET"]
    assert seal.VARIANTS[seal.SPECIFICATION] == words
    assert seal.select("64") == ["specification", "zstd, 64 KiB", "seal"]
