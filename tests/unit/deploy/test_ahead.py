"""What later layers load begins with the first layer above layer 1, and in no other run."""

import json
from pathlib import Path

import pytest

from cube.provision import pyinfra_run
from cube.runtime.run import run
from deploy.operations import uv as uv_operations
from deploy.operations.uv_beside import load_script
from deploy.runner.layers import later

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize(
    ("layer", "run", "wanted"),
    [
        (1, (1, 2, 3, 4, 5), []),  # there is neither uv nor Docker
        (2, (1, 2, 3, 4, 5), [3, 4, 5]),
        (3, (1, 2, 3, 4, 5), []),
        (2, (2, 4), [4]),
        (4, (1, 4), []),
        (4, (4,), []),
        (4, (), []),
        (3, (5, 4, 3), [4, 5]),
    ],
)
def test_loads_begin_once(layer: int, run: tuple[int, ...], wanted: list[int]) -> None:
    assert later(layer, run) == wanted


def names(folder: Path, *argv: str) -> list[tuple[int, str]]:
    """Return the operations of a run in their order, with the layers that they belong to."""
    data = ["--data", "gpu_mode=assume"]
    code, journal = pyinfra_run.run_pyinfra(
        ["--limit", "@fake/debian-13", *data, "deploy/runner/offline.py", *argv],
        {"CUBE_SPEC": str(GOLDEN / "cube.toml")},
        folder,
        timeout_s=60,
        told=False,
    )
    assert code == 0, journal.tail()
    return [(event["layer"], event["name"]) for event in journal.of("end")]


def test_the_whole_site_begins_to_load_before_the_driver(tmp_path: Path) -> None:
    told = names(tmp_path, "deploy/site.py")
    start = [layer for layer, _ in told].index(2)
    assert told[start - 3 : start] == [
        (1, "Note that layer 1 is on this box"),
        (3, "Begin to pull container images"),
        (4, "Begin to load the frameworks"),
    ]


def test_a_layer_alone_begins_with_its_own(tmp_path: Path) -> None:
    told = names(tmp_path, "deploy/layer2.py")
    assert {layer for layer, _ in told} == {2}


def test_a_lock_that_cannot_be_read_is_left_to_its_layer(tmp_path: Path) -> None:
    locks = json.dumps([str(tmp_path / f"{name}.txt") for name in "abc"])
    code, journal = pyinfra_run.run_pyinfra(
        [
            "--limit",
            "@fake/debian-13",
            "--data",
            "gpu_mode=assume",
            "--data",
            "run=[2,4]",
            "--data",
            f"framework_locks={locks}",
            "deploy/runner/offline.py",
            "deploy/layer2.py",
        ],
        {"CUBE_SPEC": str(GOLDEN / "cube.toml")},
        tmp_path,
        timeout_s=60,
        told=False,
    )
    assert code == 0, journal.tail()
    assert "nothing is loaded ahead: pytorch: " in "\n".join(journal.output)


@pytest.mark.parametrize(("fails", "noted"), [("", ["one", "two"]), ("one", ["one.failed", "two"])])
def test_each_lock_is_noted_when_it_was_dealt_with(
    fails: str, noted: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = tmp_path / "uv"
    uv.write_text(f'#!/bin/bash\n[ "${{@: -1}}" != "{tmp_path}/{fails}.txt" ]\n')
    uv.chmod(0o755)
    monkeypatch.setattr(uv_operations, "UV", str(uv))
    monkeypatch.setattr(uv_operations, "AHEAD", str(tmp_path))
    monkeypatch.setattr(uv_operations, "digest", str)
    (tmp_path / "three.failed").touch()  # of an earlier one
    script = load_script(["one", "two"], index="https://me:secret@i.example/s", proxy="")
    run(["sh", "-c", script])
    assert sorted(file.name for file in tmp_path.iterdir() if file != uv) == noted
    uses = [line for line in script.splitlines() if str(uv) in line]
    assert not any("secret" in line for line in uses)  # everybody may read the words of a command
