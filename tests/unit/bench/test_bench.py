"""The pieces of the benchmark: on tiny disks, and with a `cube` that only plays its part."""

import errno
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench import cases, chain, frameworks, program, project, sizes, standins, table
from bench.cases import Bench
from bench.project import Project
from bench.sizes import Change, Cost
from bench.table import Figure
from cube import config
from cube.chain.key import keys
from cube.chain.store.links import Store
from cube.disks import qcow2
from cube.runtime import run
from cube.runtime.errors import INTERRUPTED, CubeError, HostError
from tests.unit.chain import samples

GOLDEN = Path(__file__).parents[2] / "golden" / "manifest.json"
KIB = 1024

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


def write(image: Path, *commands: str) -> None:
    run.run(["qemu-io", *(word for command in commands for word in ("-c", command)), image])


@pytest.fixture
def chained(tmp_path: Path) -> list[tuple[str, Path]]:
    """A base of 128 KiB of ones, and a link that writes, repeats and clears."""
    base, link = tmp_path / "base.qcow2", tmp_path / "layer1.qcow2"
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", base, "1M"])
    write(base, "write -P 1 0 128k")
    qcow2.create_overlay(link, base)
    write(
        link,
        "write -P 2 0 4k",  # one block is new; qcow2 copies the cluster around it
        "write -P 1 64k 64k",  # a cluster that says what the one below says
        "write -P 0 8k 4k",  # one block is cleared
        "write -P 3 512k 8k",  # two blocks where nothing was
    )
    return [("base", base), ("layer1", link)]


def test_a_link_is_held_to_the_blocks_that_it_changed(
    chained: list[tuple[str, Path]], tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    base, link = sizes.measure(chained, scratch)
    assert base.change == Change(written=128 * KIB, cleared=0, clusters=128 * KIB)
    assert link.change == Change(written=12 * KIB, cleared=4 * KIB, clusters=128 * KIB)
    assert link.file == chained[1][1].stat().st_blocks * 512
    assert link.ratio == link.file / (12 * KIB)
    assert (base.flat, link.flat) == (128 * KIB, 132 * KIB)
    assert list(scratch.iterdir()) == []


def test_an_image_that_grew_is_compared_beyond_the_end_of_the_other(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"a" * 4 * KIB)
    large.write_bytes(b"a" * 4 * KIB + b"b" * 4 * KIB)
    assert sizes.compare(large, small).written == 4 * KIB
    assert sizes.compare(small, large) == Change(written=0, cleared=4 * KIB, clusters=0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A project whose `cube` is an actor."""
    folder = tmp_path / "source"
    for name in ("cube", "deploy/roles", ".git", "build", "tests"):
        (folder / name).mkdir(parents=True)
    (folder / "cube" / "__main__.py").write_text(ACTOR)
    for role in ("common", "monitoring"):
        (folder / "deploy" / "roles" / f"{role}.py").write_text(f'"""Role {role}."""\n')
    (folder / "cube.toml").write_text("")
    return folder


@pytest.fixture
def copied(source: Path, tmp_path: Path) -> Project:
    """A copy of it, with an image of layers 1 and 5 that was built in one go."""
    made = project.copy(tmp_path / "copy", source / "cube.toml", source=source)
    data = json.loads(GOLDEN.read_text())
    data["links"] = [{**link, "reused": False} for link in data["links"]]
    made.work.root.mkdir(parents=True)
    made.work.manifest.write_text(json.dumps(data))
    made.store.prepare()
    layer1 = samples.add_layer(made.store, 1, samples.add_base(made.store))
    samples.skip_layer(made.store, 3, layer1)
    made.store.set_head(samples.add_layer(made.store, 5, layer1))
    return made


def play(copied: Project, *runs: dict[str, Any]) -> None:
    (copied.folder / "script.json").write_text(json.dumps(runs))


def result(*reused: str, made: bool = True) -> dict[str, Any]:
    record = {"kind": "result", "made": made, "reused": reused}
    return {"records": [{"kind": "step", "text": "Stage 1"}, record]}


def test_the_copy_has_what_a_build_needs_and_builds_inside_of_itself(copied: Project) -> None:
    names = {path.name for path in copied.folder.iterdir()}
    assert names == {"cube", "deploy", "cube.toml", "build"}  # build: made by this test
    assert copied.work.root.is_relative_to(copied.folder)


def test_a_build_folder_outside_of_the_copy_is_refused(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "cube.toml"
    file.write_text(f'[build]\ndir = "{tmp_path}/build"\n')
    with pytest.raises(CubeError, match="not inside of the copy"):
        project.copy(tmp_path / "copy", file, source=source)


def test_a_touched_role_changes_the_key_of_its_layer_and_no_other(tmp_path: Path) -> None:
    made = project.copy(tmp_path / "copy", project.SOURCE / "cube.toml")

    def digests() -> list[str]:
        return [
            keys.digest(
                keys.layer_ingredients(
                    made.spec, layer, parent="", refresh="never", project=made.folder
                )
            )
            for layer in (1, 5)
        ]

    before = digests()
    role = made.touch(5)
    after = digests()
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)
    argv = [sys.executable, "-m", "ruff", "check", "--no-cache", str(role)]
    assert run.run(argv, cwd=made.folder).returncode == 0


def test_a_layer_without_a_role_cannot_be_touched(copied: Project) -> None:
    with pytest.raises(CubeError, match=r"gpu_runtime\.py"):
        copied.touch(3)


def test_a_build_counts_when_it_says_that_it_succeeded(copied: Project) -> None:
    play(copied, result("base"))
    built = copied.build()
    assert built.reused == ["base"]
    assert 0 < built.seconds < 60


@pytest.mark.parametrize(
    ("played", "told"),
    [
        ({"records": [], "code": 0}, "ended with 0: it said no more"),
        ({"records": [{"kind": "error", "text": "no disk"}], "code": 4}, "ended with 4: no disk"),
        ({**result("base"), "code": 137}, "ended with 137"),
    ],
)
def test_a_build_that_does_not_prove_itself_is_a_failure(
    copied: Project, played: dict[str, Any], told: str
) -> None:
    play(copied, played)
    with pytest.raises(CubeError, match=told):
        copied.build()


def operation(layer: int) -> dict[str, Any]:
    return {"kind": "operation", "text": "x", "layer": layer}


def test_a_build_is_killed_in_the_layer_that_is_meant(copied: Project) -> None:
    play(copied, {"records": [operation(1), operation(5)], "wait": True})
    assert copied.build_until_killed(5) < 60


def test_a_build_that_ends_before_it_is_killed_is_a_failure(copied: Project) -> None:
    play(copied, {"records": [operation(1)]})
    with pytest.raises(CubeError, match="did not reach layer 5"):
        copied.build_until_killed(5)


@pytest.mark.parametrize("line", ["", "x", "[1]", '"x"', '{"a": 1}', "Killed"])
def test_a_line_that_is_no_record_is_passed_over(line: str) -> None:
    assert project.parse(line) == {}
    assert not project.is_operation(line, 5)


def test_every_case_has_its_figure(copied: Project) -> None:
    bench = Bench(project=copied)
    below = result("base", "layer1")
    play(
        copied, result(), result("base", "layer1", "layer5", "image", made=False), below, below,
        {"records": [operation(5)], "wait": True}, below,
    )  # fmt: skip
    builds = ("full", "no-change", "layer5", "layer5-links", "layer3", "layer3-links", "resume")
    for case in builds:
        cases.CASES[case](bench)
    figures = {figure.case: figure for figure in bench.figures}
    assert tuple(figures) == builds
    assert figures["full"].ratio == 1.0
    assert figures["full"].links_s == 12.346
    assert (figures["no-change"].met, figures["no-change"].links_s) == (True, None)
    assert figures["layer5"].note == "changed: monitoring.py"
    assert figures["layer5-links"].seconds is figures["layer5-links"].met is None
    assert figures["layer5-links"].what.endswith(", links only")
    for case in ("layer3", "layer3-links"):
        assert figures[case].seconds is figures[case].links_s is None
        assert figures[case].note == "not measured: layer 3 is skipped here: no GPU"
    assert figures["resume"].note.endswith("at the first operation of layer 5")
    assert bench.host()["cores"] == 2


@pytest.mark.parametrize(
    ("case", "played", "told"),
    [
        ("layer5-links", result("base"), r"expected was \['base', 'layer1'\]"),
        ("full", result("base"), r"reused \['base'\], expected was \[\]"),
        ("no-change", result("base"), "made something anew"),
        ("layer5", result("base"), r"expected was \['base', 'layer1'\]"),
    ],
)
def test_a_build_that_reused_other_links_is_no_figure(
    copied: Project, case: str, played: dict[str, Any], told: str
) -> None:
    play(copied, played)
    bench = Bench(project=copied, full_s=1.0)
    with pytest.raises(CubeError, match=told):
        cases.CASES[case](bench)
    assert bench.figures == []


def test_a_layer_that_is_not_there_is_not_measured(copied: Project) -> None:
    assert copied.skipped(4) == "it was never made"
    assert copied.skipped(5) == ""
    (copied.folder / "cube.toml").write_text("[layers]\nenabled = [1, 5]\n")
    assert replace(copied, spec=config.load(copied.folder / "cube.toml")).skipped(3) == (
        "not enabled in cube.toml"
    )


@pytest.mark.parametrize(
    ("seconds", "links_s", "met", "links_met"),
    [(100.0, 100.0, True, True), (300.0, 150.0, False, True), (None, 151.0, None, False)],
)
def test_the_target_of_a_rebuild_is_judged_for_the_image_and_for_its_links(
    copied: Project,
    seconds: float | None,
    links_s: float,
    met: bool | None,
    links_met: bool | None,
) -> None:
    figure = Figure(case="layer5", what="rebuild", seconds=seconds, links_s=links_s)
    found = Bench(project=copied, full_s=1000.0).judged(figure, 0.15)
    assert (found.met, found.links_met, found.target) == (met, links_met, "at most 15%")


def test_an_earlier_full_build_is_taken_over(copied: Project, tmp_path: Path) -> None:
    other = project.copy(tmp_path / "other", copied.folder / "cube.toml", source=copied.folder)
    bench = Bench(project=other)
    bench.take_over(copied.work.root.parent)
    (figure,) = bench.figures
    assert (figure.seconds, figure.ratio, figure.links_s) == (bench.full_s, 1.0, 12.346)
    assert figure.note.startswith("taken over: by its manifest, of 20")
    assert [link.name for link in other.store.current()] == ["base", "layer1", "layer5"]
    play(other, result("base", "layer1", "layer5"))
    bench.extend()


def test_a_build_that_reused_links_is_not_taken_over_as_a_full_one(copied: Project) -> None:
    copied.work.manifest.write_text(GOLDEN.read_text())
    with pytest.raises(CubeError, match=r"reused base.*: it was no full build"):
        copied.full_seconds()


def test_a_build_that_ends_with_a_link_says_so(copied: Project) -> None:
    assert copied.argv("layer5")[-2:] == ["--to", "layer5"]
    assert "--to" not in copied.argv()


def test_stand_ins_are_named_in_the_shipped_cube_toml(tmp_path: Path) -> None:
    values = {"enabled": standins.LAYERS, "mode": '"assume"', "nvidia_url": '"http://a"',
              "nvidia_fingerprint": f'"{"A" * 40}"'}  # fmt: skip
    rewritten = partial(standins.rewrite, values=values)
    made = project.copy(tmp_path / "copy", project.SOURCE / "cube.toml", rewrite=rewritten)
    assert made.spec.layers.enabled == (1, 2, 3, 5)
    assert made.spec.layers.layer2 == ("nvidia_driver",)
    assert (made.spec.gpu.mode, made.spec.stack.nvidia_url) == ("assume", "http://a")
    with pytest.raises(CubeError, match="has 0 lines with 'mode'"):
        standins.rewrite("[gpu]\n", {"mode": '"assume"'})


COSTS = [
    Cost(name="base", file=1_100_000, flat=1_000_000, change=Change(written=1_000_000)),
    Cost(name="layer1", file=1_400_000, flat=2_000_000, change=Change(written=1_000_000)),
]


def test_sizes_are_judged_by_the_worst_link_and_the_whole_store() -> None:
    link, store = cases.link_figure(COSTS), cases.store_figure(COSTS)
    assert (link.ratio, link.met, link.note) == (1.4, False, "the worst is layer1")
    assert store.ratio == pytest.approx(2.5 / 3)


def test_figures_are_told_as_a_table() -> None:
    figures = [
        Figure(case="full", what="full build", seconds=900.0, links_s=400.0, ratio=1.0),
        Figure(case="x", what="rebuild", seconds=90.0, ratio=0.1, target="at most 15%", met=True),
        Figure(
            case="y",
            what="other",
            seconds=900.0,
            ratio=1.0,
            links_s=90.0,
            links_ratio=0.1,
            target="at most 15%",
            met=False,
            links_met=True,
        ),
        cases.link_figure(COSTS),
    ]
    text = table.markdown(figures, COSTS, {"cores": 2})
    assert "| full build | 900.0 | 100.0 % | 400.0 |  |  |  |" in text
    assert "| rebuild | 90.0 | 10.0 % |  |  | at most 15%: met |  |" in text
    told = "at most 15%: MISSED, until the links met"
    assert f"| other | 900.0 | 100.0 % | 90.0 | 10.0 % | {told} |  |" in text
    assert "| 140.0 % |  |  | at most 130%: MISSED | the worst is layer1 |" in text
    assert "| layer1 | 1.4 | 1.0 | 1.40 | 0.0 | 0.0 | 2.0 |" in text
    assert text.endswith("Host: cores 2.")


def test_cases_are_run_in_their_order_and_a_wrong_name_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert chain.cases("links,layer5,full") == ["full", "layer5", "links"]
    with pytest.raises(SystemExit):
        chain.main(["--cases", "layer9"])
    assert "no case 'layer9'" in capsys.readouterr().err


def test_links_alone_do_not_go_with_a_case_that_makes_an_image(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        chain.main(["--links-only", "--cases", "full,layer5,layer5-links"])
    assert "makes no image, which layer5 would" in capsys.readouterr().err


def test_the_program_says_what_it_does() -> None:
    argv = [sys.executable, str(project.SOURCE / "bench" / "chain.py"), "--help"]
    text = run.run(argv).stdout
    assert all(case in text for case in cases.CASES)


def freeze(store: Store, name: str, parent: str) -> str:
    ingredients = {"name": name, "parent": parent, "refresh": "never"}
    return store.freeze(ingredients, seconds=1.0).key


def test_a_chain_that_is_there_is_measured_without_a_build(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(folder=tmp_path / "chain")
    store.prepare()
    image = store.begin()
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"])
    write(image, "write -P 1 0 256k")
    base = freeze(store, "base", "")
    write(store.extend(store.by_key(base)), "write -P 2 256k 256k")
    store.set_head(store.by_key(freeze(store, "layer1", base)))
    output = tmp_path / "figures.json"
    options = ["--chain", str(store.folder), "--folder", str(tmp_path), "--output", str(output)]
    assert chain.main(options) == 0
    told = json.loads(output.read_text())
    assert [figure["case"] for figure in told["cases"]] == ["store", "links"]
    assert [link["change"]["written"] for link in told["links"]] == [256 * KIB, 256 * KIB]
    shown = capsys.readouterr().out
    assert "| layer1 |" in shown
    assert json.loads(shown.split("```json\n")[1].removesuffix("```\n")) == told
    assert {path.name for path in tmp_path.iterdir()} == {"chain", "figures.json"}


def test_a_chain_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--chain", str(tmp_path / "none"), "--folder", str(tmp_path)]
    assert chain.main(options) == CubeError.exit_code
    assert "there is no chain in" in capsys.readouterr().err


def test_a_run_works_in_a_copy_and_leaves_nothing(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    file = tmp_path / "cube.toml"
    file.write_text("[layers]\nenabled = []\n")  # refused at once, in the copy
    code = chain.main(["--folder", str(scratch), "--spec", str(file), "--cases", "full"])
    assert code == 3
    assert "it is empty: name at least layer 1" in capsys.readouterr().err
    assert list(scratch.iterdir()) == []


def test_a_run_that_fails_leaves_the_page_as_it_is(tmp_path: Path) -> None:
    page, file = tmp_path / "bench.md", tmp_path / "cube.toml"
    page.write_text("the last whole run\n")
    file.write_text("[layers]\nenabled = []\n")
    words = ["--folder", str(tmp_path), "--spec", str(file), "--page", str(page)]
    assert chain.main([*words, "--cases", "full"]) == 3
    assert page.read_text() == "the last whole run\n"
    assert not (tmp_path / "bench").exists()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/x"),
            HostError.exit_code,
            "/x: No space left on device",
        ),
        (KeyboardInterrupt(), INTERRUPTED, "interrupted"),
        (CubeError("no figure"), CubeError.exit_code, "no figure"),
    ],
)
def test_a_program_ends_with_words_and_a_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise error

    assert program.ended(work) == code
    assert said in capsys.readouterr().err


def test_what_would_fill_the_disk_is_not_begun(tmp_path: Path) -> None:
    program.require_room(tmp_path, 0)
    with pytest.raises(HostError, match=r"GiB free, 9999999 GiB needed"):
        program.require_room(tmp_path, 9_999_999)


def test_the_shipped_cube_toml_can_be_measured() -> None:
    loaded = config.load(project.SOURCE / "cube.toml")
    assert loaded.build.dir.is_relative_to(project.SOURCE)


@pytest.mark.parametrize("index", ["", "http://index.example/simple"])
def test_pip_installs_each_lock_in_an_environment_of_its_own(index: str) -> None:
    script = frameworks.pip_script(["pytorch", "vllm"], index)
    run.run(["sh", "-n"], stdin=script)
    assert script.count("for name in pytorch vllm; do") == 2
    assert ("--index-url http://index.example/simple" in script) is bool(index)
    assert not {"NAMES", "OPTIONS"} & set(script.split())
