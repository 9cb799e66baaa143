"""The cache of wheels on a real machine: pip and uv through it, and again without a network."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cube import config
from cube.config import Spec
from cube.disks import qcow2
from cube.machines import Machine, MachineRequest, ssh
from cube.machines.nspawn.container import Containers
from cube.provision import pyinfra_run
from cube.supply import index_process, package_cache, wheel_cache
from cube.supply.wheel_cache import WheelCache
from tests.integration.conftest import PROJECT

PROFILE = PROJECT / "tests/integration/profiles/cpu"
#: What layer 1 has by pip, and layer 4 by uv.
MADE = "/opt/cube/tools /opt/cube/venvs"
CACHE = "/opt/cube/cache"


@dataclass(frozen=True)
class Round:
    """What one application of layers 1 and 4 did.

    Args:
        changed: operations of both, by their names.
        fetched: bytes that came from the network.
        given: bytes that the machine got.
    """

    changed: list[str]
    fetched: int
    given: int


@dataclass(frozen=True)
class Story:
    """Two such rounds on one machine, what they had made removed between them."""

    machine: Machine
    spec: Spec
    cache: WheelCache
    first: Round
    second: Round


def write_spec(folder: Path) -> Spec:
    file = folder / "cube.toml"
    file.write_text(
        f'[build]\ndir = "{folder}/build"\n[gpu]\nmode = "assume"\n'
        f'[stack]\nprofile = "{PROFILE}"\nframeworks = ["numpy"]\n'
    )
    return config.load(file)


def apply(machine: Machine, loaded: Spec, folder: Path) -> tuple[WheelCache, Round]:
    ssh.execute(machine.endpoint, f"sudo rm -rf {MADE} {CACHE}")
    with wheel_cache.own(loaded, folder) as cache:
        changed = [
            name
            for layer in (1, 4)
            for name in pyinfra_run.apply(layer, machine, spec=loaded, index=cache.index).changed
        ]
        url = f"http://127.0.0.1:{urlsplit(cache.index).port}"
        return cache, Round(changed, *index_process.traffic(url))


@pytest.fixture(scope="module")
def story(
    layer1_disk: Path, key_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("wheels")
    loaded = write_spec(folder)
    overlay = folder / "disk.qcow2"
    qcow2.create_overlay(overlay, layer1_disk)
    request = MachineRequest(name="wheels", disk=overlay, run_dir=folder / "run", key_file=key_file)
    with Containers().start(request) as machine:
        _, first = apply(machine, loaded, folder / "wheels")
        shutil.rmtree(folder / "wheels/pages")  # they are asked for anew, and nothing needs them
        cache, second = apply(machine, loaded, folder / "wheels")
        yield Story(machine, loaded, cache, first, second)


def test_pip_and_uv_come_through_it(story: Story) -> None:
    for one in (story.first, story.second):
        assert any("Install uv, pinned" in name for name in one.changed)
        assert any("Make the environment numpy" in name for name in one.changed)
        assert one.given > 2**24


def test_the_first_time_everything_is_fetched_once(story: Story) -> None:
    assert story.first.fetched == story.first.given


def test_the_second_time_nothing_is_fetched(story: Story) -> None:
    assert story.second.fetched == 0
    assert story.second.given == story.first.given


def test_nothing_of_it_stays(story: Story) -> None:
    place = urlsplit(story.cache.index).netloc
    assert place.startswith(package_cache.GATEWAY)
    search = (
        f"sudo grep -rlF {place} /opt/cube /etc /root /home;"
        " sudo find /opt/cube -name direct_url.json"
    )
    assert ssh.execute(story.machine.endpoint, search).stdout == ""


@pytest.mark.parametrize("layer", [1, 4])
def test_a_layer_is_whole_without_it(story: Story, layer: int) -> None:
    again = pyinfra_run.prove_idempotent(layer, story.machine, spec=story.spec)
    assert again.changed == ()
