import json
from pathlib import Path
from typing import Any

import pytest

from bench import chain, project, sizes
from bench.timing import PROJECT, Timing
from cube import config
from cube.disks import qcow2
from cube.runtime import run
from cube.runtime.errors import CubeError
from tests.integration import standin_archives
from tests.unit.chain import samples

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
    made.store.folder.parent.mkdir(parents=True)
    made.store.prepare()
    layer1 = samples.add_layer(made.store, 1, samples.add_base(made.store))
    samples.skip_layer(made.store, 3, layer1)
    made.store.set_head(samples.add_layer(made.store, 5, layer1))
    return made


def play(copied: project.Project, *runs: dict[str, Any]) -> chain.Bench:
    (copied.folder / "script.json").write_text(json.dumps(runs))
    bench = chain.Bench(project=copied)
    bench.runs["full",] = [Timing(seconds=100.0)]
    return bench


def result(*reused: str) -> dict[str, Any]:
    return {"records": [{"kind": "result", "reused": reused}]}


def test_every_case_has_its_row(copied: project.Project) -> None:
    below = result("base", "layer1")
    bench = play(copied, result(), result("base", "layer1", "layer5"), below, KILLED, below)
    for case in chain.CASES:
        bench.run(case)
    full, _, layer5, layer3, resume, store = bench.rows
    assert full["of the full build"] == "100.0%"
    assert layer5["remark"] == "changed: monitoring.py"
    assert layer3["remark"] == "not measured: layer 3 is skipped here: no GPU"
    assert resume["remark"].endswith("at the first operation of layer 5")
    assert " MB against " in store["remark"]
    made = bench.section({})
    assert [row[0].partition(",")[0] for row in made.tables["Targets"][1:]] == [
        "no-change",
        "layer5",
        "links",
    ]


@pytest.mark.parametrize(
    ("case", "played", "told"),
    [
        ("full", result("base"), r"reused \['base'\], expected was \[\]"),
        ("no-change", result("base"), "expected was .*'layer5'"),
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
    assert bench.rows == []


def test_a_build_folder_outside_of_the_copy_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    file = tmp_path / "cube.toml"
    file.write_text(f'[build]\ndir = "{tmp_path}/build"\n')
    with pytest.raises(CubeError, match="not inside of the copy"):
        project.copy(tmp_path / "copy", file, source=tmp_path / "source")


def test_the_shipped_cube_toml_takes_the_stand_ins_layers(tmp_path: Path) -> None:
    values = {"enabled": standin_archives.LAYERS, "mode": '"assume"'}
    file = tmp_path / "cube.toml"
    file.write_text(standin_archives.rewrite((PROJECT / "cube.toml").read_text(), values))
    assert config.load(file).layers.enabled == (1, 2, 3, 5)


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
    below, above = sizes.measure({"base": base, "link": link}, scratch)
    kib = 1024
    assert (below.written, below.cleared, below.clusters) == (128 * kib, 0, 128 * kib)
    assert (above.written, above.cleared, above.clusters) == (12 * kib, 4 * kib, 128 * kib)
    assert (below.flat, above.flat) == (128 * kib, 132 * kib)
    assert above.ratio == link.stat().st_blocks * 512 / (12 * kib)
