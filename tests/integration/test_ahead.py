"""`cube apply` of all layers that a box with GPUs gets: what later layers load comes early.

NVIDIA's archives are stand-ins: simulated evidence. The wheels are real.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cube import config
from cube.disks import qcow2
from tests.integration import standin_archives as standins
from tests.integration.desk import Desk, Done, standing_on
from tests.integration.index import Index, serve
from tests.integration.test_frameworks import COME_S, NUMPY, PROFILE

LAYERS = (1, 2, 3, 4)


@dataclass(frozen=True)
class Story:
    """A first application, with layer 2 held while it loads the driver.

    Args:
        meanwhile: wheels that were sent before the driver was, by package.
        sent: all wheels that were sent.
        index: who sends them.
    """

    desk: Desk
    first: Done
    meanwhile: Counter[str]
    sent: Counter[str]
    index: Index


@pytest.fixture(scope="module")
def story(
    layer1_disk: Path, key_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("ahead")
    overlay = folder / "disk.qcow2"
    qcow2.create_overlay(overlay, layer1_disk)
    (folder / "index").mkdir()
    with (
        serve(folder / "index") as index,
        standins.served(folder / "stand-ins") as made,
        standing_on(overlay, key_file, folder) as up,
    ):
        desk = with_gpu_layers(up, index, made)
        made.drivers.hold()
        with ThreadPoolExecutor() as pool:
            applied = pool.submit(desk.cube, "apply", "--no-checks")
            wait_for_wheels(index, over=applied.done)
            meanwhile = index.sent.copy()
            made.drivers.release()
            yield Story(desk, applied.result(), meanwhile, index.sent.copy(), index)


def with_gpu_layers(desk: Desk, index: Index, made: standins.Standins) -> Desk:
    """Return a desk whose cube.toml wants layers 1 to 4, by stand-ins and an index of ours."""
    enabled = made.values["enabled"].replace("[1, 2, 3, 5]", str(list(LAYERS)))
    more = {
        "enabled": enabled,
        "pypi_index": f'"{index.url}"',
        "profile": f'"{PROFILE}"',
        "frameworks": '["numpy"]',
    }
    file = desk.spec.file
    file.write_text(standins.rewrite(file.read_text(), {**made.values, **more}))
    return replace(desk, spec=config.load(file))


def wait_for_wheels(index: Index, *, over: Callable[[], bool]) -> None:
    """Wait until the wheel of numpy was sent, or the application is over."""
    deadline = time.monotonic() + COME_S
    while not (index.sent[NUMPY] or over()) and time.monotonic() < deadline:
        time.sleep(0.1)


def test_every_layer_is_applied(story: Story) -> None:
    assert story.first.code == 0, story.first.told[-1]
    assert [one["layer"] for one in story.first.of("applied")["layers"]] == list(LAYERS)
    python = "/opt/cube/venvs/numpy/bin/python"
    assert story.desk.sh(f"{python} -c 'import numpy; print(numpy.__version__)'") == "2.5.5\n"


def test_the_wheels_come_while_layer_2_waits_for_the_driver(story: Story) -> None:
    assert story.meanwhile[NUMPY] == 1


def test_no_wheel_is_loaded_twice(story: Story) -> None:
    assert set(story.sent.values()) == {1}


def test_nothing_of_it_stays(story: Story) -> None:
    assert story.desk.sh("ls -d /opt/cube/cache /run/cube-wheels 2>/dev/null || true") == ""
    assert story.desk.sh("systemctl is-active cube-wheels || true") == "inactive\n"


def test_a_second_application_changes_nothing_and_loads_nothing(story: Story) -> None:
    again = story.desk.cube("apply", "--no-checks")
    assert again.code == 0, again.told[-1]
    assert [one["changed"] for one in again.of("applied")["layers"]] == [[], [], [], []]
    assert story.index.sent == story.sent
