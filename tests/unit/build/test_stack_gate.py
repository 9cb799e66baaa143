"""The gate of stage 1: rules, locks and disk of what cube.toml says, together and offline."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cube.build import stack_gate, verify
from cube.config import Spec, load_text, may_apply
from cube.runtime import hardware, log
from cube.stack import profile

ROOT = Path(__file__).parents[3]
SPECIFICATION = '[stack]\nprofile = "specification"\nsource = "distribution"\n'
BIG = '[image]\ndisk_size = "64 GiB"\n'


def spec_of(text: str, folder: Path = ROOT) -> Spec:
    return load_text(text, folder / "cube.toml")


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "nvidia_gpus", list)


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What is logged."""
    lines: list[str] = []
    with log.listening(lambda event: lines.append(str(event))):
        yield lines


def test_it_is_a_gate_of_stage_1() -> None:
    assert [one.name for one in verify.GATES if one.problems is verify.stack] == [
        "The GPU stack can work"
    ]


def test_the_shipped_file_passes_here_with_a_hint_about_the_disk(told: list[str]) -> None:
    spec = spec_of((ROOT / "cube.toml").read_text())
    assert stack_gate.examine(spec) == []
    assert any("the stack needs 35 GiB" in line for line in told)


@pytest.mark.parametrize("text", ['[gpu]\nmode = "assume"\n', "[gpu]\n"])
def test_a_small_disk_is_an_error_where_the_layers_are_applied(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "nvidia_gpus", lambda: ["10de:2b85"])
    (problem,) = stack_gate.examine(spec_of(text))
    assert problem.startswith("image.disk_size is 16 GiB, the stack needs 35 GiB (system 3.0,")
    assert problem.endswith("write at least 35 GiB, or fewer frameworks")


def test_the_size_that_is_asked_for_is_enough() -> None:
    assume = '[gpu]\nmode = "assume"\n'
    assert stack_gate.examine(spec_of(f'[image]\ndisk_size = "35 GiB"\n{assume}')) == []
    assert stack_gate.examine(spec_of(f'[image]\ndisk_size = "34 GiB"\n{assume}')) != []


def test_fewer_frameworks_take_less() -> None:
    text = '[image]\ndisk_size = "20 GiB"\n[gpu]\nmode = "assume"\n'
    assert stack_gate.examine(spec_of(text)) != []
    assert stack_gate.examine(spec_of(f'{text}[stack]\nframeworks = ["pytorch"]\n')) == []
    assert stack_gate.examine(spec_of(f"{text}[layers]\nenabled = [1, 2, 3]\n")) == []


@pytest.mark.parametrize("text", ['[gpu]\nmode = "skip"\n', "[layers]\nenabled = [1, 5]\n"])
def test_what_is_never_applied_is_not_judged(text: str) -> None:
    assert stack_gate.examine(spec_of(f"{SPECIFICATION}{text}")) == []
    assert not may_apply(spec_of(text))


@pytest.mark.parametrize("layout", ["plain", "lvm"])
@pytest.mark.parametrize("mode", ["skip", "auto", "assume"])
def test_swap_and_layout_count(layout: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "nvidia_gpus", list)

    def examine(disk: str, swap: str) -> list[str]:
        image = f'[image]\ndisk_size = "{disk}"\nswap = "{swap}"\nlayout = "{layout}"\n'
        return stack_gate.examine(spec_of(f'{image}[gpu]\nmode = "{mode}"\n'))

    assert examine("64 GiB", "16 GiB") == []
    (told,) = examine("16 GiB", "13 GiB")
    assert told.startswith("image.disk_size is 16 GiB, ")
    assert "system 3.0" in told
    assert "swap 13.0" in told
    least = 49 if mode == "assume" else 18
    assert f"write at least {least} GiB, or " in told
    assert len(examine("35 GiB", "1 GiB")) == (1 if mode == "assume" else 0)
    assert examine(f"{least} GiB", "13 GiB") == []


def test_a_disk_that_holds_the_bare_system_is_enough() -> None:
    for text in ('disk_size = "6 GiB"', 'disk_size = "6 GiB"\nlayout = "lvm"\nswap = "1 GiB"'):
        assert stack_gate.examine(spec_of(f'[image]\n{text}\n[gpu]\nmode = "skip"\n')) == []


def test_a_5090_with_the_specifications_stack_is_refused_with_the_nearest_one() -> None:
    found = stack_gate.examine(spec_of(f"{BIG}{SPECIFICATION}"))
    assert "driver 550.163.01 cannot drive rtx-5090" in found[0]
    assert found[-1] == "the nearest set that works: source = nvidia, profile = cube"
    assert len(found) == 3


def test_a_4090_with_the_specifications_stack_on_debian_passes() -> None:
    text = f'{BIG}[gpu]\nmode = "assume"\nmodel = "rtx-4090"\n{SPECIFICATION}'
    assert stack_gate.examine(spec_of(text)) == []


def test_several_problems_are_told_together(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    text = (profile.SHIPPED / "cube" / profile.FILE).read_text()
    (mine / profile.FILE).write_text(text.replace('modules = "open"', 'modules = "proprietary"'))
    lock = (profile.SHIPPED / "cube" / "vllm.txt").read_text()
    (mine / "vllm.txt").write_text(lock)
    toml = '[gpu]\nmode = "assume"\n[stack]\nprofile = "./mine"\nframeworks = ["vllm", "pytorch"]\n'
    found = "\n".join(stack_gate.examine(spec_of(toml, tmp_path)))
    assert "proprietary kernel modules cannot drive rtx-5090" in found
    assert "vllm.txt: its profile is 'cube', the profile says 'mine'" in found
    assert "pytorch.txt: there is no lock: cube stack lock" in found
    assert "image.disk_size is 16 GiB" in found


@pytest.mark.parametrize(
    ("text", "gpus", "expected"),
    [
        ('[gpu]\nmode = "skip"\n', ["10de:2b85"], 'no: gpu.mode = "skip"'),
        ('[gpu]\nmode = "assume"\n', [], 'layers 2 3 4: gpu.mode = "assume"'),
        ("", ["10de:2b85"] * 4, "layers 2 3 4: 4 NVIDIA GPUs here (10de:2b85)"),
        ("", [], 'not in a build here: gpu.mode = "auto", and this machine has no NVIDIA GPU'),
        ("[layers]\nenabled = [1]\n", [], "no: none of the layers 2-4 is enabled"),
    ],
)
def test_what_was_decided(
    text: str, gpus: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "nvidia_gpus", lambda: gpus)
    assert stack_gate.decided(spec_of(text)) == expected
