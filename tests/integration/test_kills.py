"""kill -9 in the layers of the GPU stack: nothing is left, and the same command goes on.

Layers 1 and 5 are in test_chain.py. The archives of layers 2 and 3 are stand-ins that hold a
package back until the kill is done; layer 4 is a small environment. Layers below the one that is
killed are links that the test itself planted, with nothing in them.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cube import config
from cube.build import pipeline
from cube.chain.store.link import LayerRecord
from cube.runtime.errors import INTERRUPTED
from cube.stack import lockfile, profile
from tests.integration import standin
from tests.integration.conftest import PROJECT, write_spec
from tests.integration.server import Server, serve
from tests.integration.test_chain import kill_cube, kill_pyinfra, stop
from tests.integration.test_faults import (
    Keep,
    Place,
    Run,
    chained,
    kill_machine,
    place,
    run_of,
)

__all__ = ["chained", "place", "run_of"]

PROFILE = PROJECT / "tests/integration/profiles/cpu"
ROLES = {2: "nvidia_driver", 3: "gpu_runtime", 4: "frameworks"}
#: What an operation says that has ended before the one in which layer 4 is killed.
BEFORE = "frameworks: See that the disk has room"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[standin.Key]:
    made = standin.Key.make(tmp_path_factory.mktemp("gpg") / "home")
    yield made
    made.close()


@pytest.fixture(scope="module")
def archives(key: standin.Key, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Where layer 2 finds the first package of its driver, and layer 3 all of its own."""
    folder = tmp_path_factory.mktemp("archives")
    driver = folder / "debian13/x86_64"
    pin = standin.Package(name="nvidia-driver-pinning-580", version="580-1")
    standin.Archive(driver, key).publish([pin])
    (driver / "8793F200.pub").write_text(key.export())
    standin.Archive(folder / "stable/deb/amd64", key).publish(standin.toolkit("1.20.0"))
    (folder / "gpgkey").write_text(key.export())
    with serve(folder) as server:
        yield server


def write_profile(folder: Path) -> Path:
    """Write a profile whose lock says what it answers; the one of numpy alone does not."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(PROFILE / "profile.toml", folder / "profile.toml")
    chosen = profile.load(str(folder))
    lines = (PROFILE / "numpy.txt").read_text().splitlines(keepends=True)
    body = "".join(line for line in lines if not line.startswith("#"))
    text = lockfile.render(chosen, chosen.frameworks["numpy"], body)
    chosen.lock("numpy").write_text(text)
    return folder


def write_stack(place: Place, case: "Case", archives: Server, key: standin.Key) -> str:
    """Write and return a specification in which the layer of a case is the last one."""
    small = write_profile(place.folder / "small")
    changes = {
        "enabled = [1, 2, 3, 4, 5]": f"enabled = {sorted({1, 2, case.layer})}",
        'mode = "auto" ': 'mode = "assume" ',
        'profile = "cube"': f'profile = "{small}"',
        'nvidia_url = ""': f'nvidia_url = "{archives.url}"',
        'nvidia_fingerprint = ""': f'nvidia_fingerprint = "{key.fingerprint}"',
        'toolkit_url = ""': f'toolkit_url = "{archives.url}"',
        'toolkit_fingerprint = ""': f'toolkit_fingerprint = "{key.fingerprint}"',
        'frameworks = ["pytorch", "tensorflow", "vllm"]': 'frameworks = ["numpy"]',
        'machine = "auto"': f'machine = "{case.machine}"',
    }
    file = write_spec(place.folder, place.folder / "build")
    text = file.read_text()
    for before, after in changes.items():
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    file.write_text(text)
    return text


def plant_below(place: Place, layer: int) -> str:
    """Keep base and layer 1, and plant an empty layer 2 below a higher one; name the head."""
    place.cut("layer1")
    if layer == 2:
        return "layer1"
    parent, store = place.store.named("layer1"), place.store
    planner = pipeline.planner(config.load(place.folder / "cube.toml"), store)
    store.extend(parent)
    planted = store.freeze(planner.ingredients(2, parent), seconds=0, layer=LayerRecord(layer=2))
    store.set_head(planted)
    return planted.name


def reach(run: Run, layer: int, archives: Server) -> None:
    """Wait until a layer is in the middle of an operation."""
    if layer == 4:
        run.wait_for(rf"(changed|ok) +{BEFORE}")
    else:
        archives.wait_for_package()


@dataclass(frozen=True)
class Case:
    """What is killed, in which layer, on which machine."""

    layer: int
    kill: Callable[[Place], None]
    machine: str = "auto"


def cases() -> Iterator[object]:
    """Every kill in every layer; layer 3 stands for all where time is short."""
    for layer in ROLES:
        marks = () if layer == 3 else (pytest.mark.exhaustive,)
        for kill in (kill_cube, kill_machine, kill_pyinfra):
            yield pytest.param(Case(layer, kill), id=f"{layer}-{kill.__name__}", marks=marks)
        qemu = Case(layer, kill_machine, "vm")
        yield pytest.param(qemu, id=f"{layer}-kill_qemu", marks=pytest.mark.exhaustive)


@pytest.fixture
def start(
    chained: Place, run_of: Keep, archives: Server, key: standin.Key
) -> Callable[[Case], Run]:
    """Start a build that ends with the layer of a case."""

    def run(case: Case) -> Run:
        text = write_stack(chained, case, archives, key)
        return run_of(chained.start("--to", f"layer{case.layer}", spec=text))

    return run


@pytest.mark.parametrize("case", list(cases()))
def test_after_a_kill_the_same_command_goes_on(
    chained: Place, start: Callable[[Case], Run], archives: Server, key: standin.Key, case: Case
) -> None:
    write_stack(chained, case, archives, key)
    below = plant_below(chained, case.layer)
    archives.hold()
    run = start(case)
    reach(run, case.layer, archives)
    case.kill(chained)
    archives.release()
    assert run.end() not in {0, INTERRUPTED}, run.text[-3000:]
    assert "Traceback" not in run.text
    chained.assert_nothing_left()
    told = chained.cube("chain", "verify")
    assert told.count(" whole") == len(chained.store.links())
    assert chained.store.named("").name == below

    again = start(case)
    again.wait_for(rf"(changed|ok) +{ROLES[case.layer]}")
    assert re.search(rf"{below} \w{{12}} is reused", again.text)
    stop(again)
    chained.assert_nothing_left()
