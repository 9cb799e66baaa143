"""What a build refuses before it touches anything, and what it opens for its layers."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cube import config
from cube.build import build_machine, pipeline
from cube.build.pipeline import Build
from cube.build.timeline import Timeline
from cube.chain.plan import Plan
from cube.chain.store.link import Link
from cube.config import Spec
from cube.config.workspace import Workspace
from cube.machines import Endpoint, record
from cube.machines.record import MachineRecord, identify
from cube.runtime.errors import BusyError
from cube.supply import package_cache, prefetch, wheel_cache


def leave_up(work: Workspace, name: str) -> None:
    """Record a machine that is up for people."""
    folder = work.machines / name
    folder.mkdir(parents=True)
    ourselves = identify(os.getpid())
    key = work.build_key
    endpoint = Endpoint(
        host="127.0.0.1", port=2222, user="cube-build", key_file=key, known_hosts=folder / "hosts"
    )
    record.write(
        MachineRecord(
            name=name,
            kind="container",
            disk=work.chain / "unfinished" / "disk.qcow2",
            run_dir=folder,
            endpoint=endpoint,
            owner=ourselves,
            detached=True,
            life=ourselves,
        )
    )


def test_the_machine_of_an_earlier_build_keeps_its_disk_and_key(tmp_path: Path) -> None:
    wanted = config.load_text("", tmp_path / "cube.toml")
    work = Workspace.of(wanted)
    leave_up(work, build_machine.MACHINE)
    for file in (work.chain / "unfinished" / "disk.qcow2", work.build_key):
        file.parent.mkdir(parents=True)
        file.touch()
    with pytest.raises(BusyError, match="is still up") as caught:
        pipeline.build(wanted)
    assert "cube down" in caught.value.hint
    assert (work.chain / "unfinished" / "disk.qcow2").exists()
    assert work.build_key.exists()


@pytest.mark.parametrize(("todo", "opened"), [(("layer4",), True), ((), False)])
def test_layers_that_are_made_get_both_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, todo: tuple[str, ...], opened: bool
) -> None:
    loaded = config.load_text(f'[build]\ndir = "{tmp_path}"\n', tmp_path / "cube.toml")
    given: list[object] = []

    def layers(_build: Build, _plan: object, _base: object, *caches: object) -> list[Link]:
        given.extend(caches)
        return []

    for module in (package_cache, wheel_cache):
        name = module.__name__
        monkeypatch.setattr(module, "opened", lambda *_, name=name: contextlib.nullcontext(name))
    monkeypatch.setattr(Build, "base", lambda *_: None)
    monkeypatch.setattr(Build, "layers", layers)
    build = Build(
        spec=loaded, work=Workspace.of(loaded), timeline=Timeline(), keep=False, fresh=False, to=""
    )
    build.links(Plan(refresh="never", todo=todo))
    assert given == (
        ["cube.supply.package_cache", "cube.supply.wheel_cache"] if opened else [None, None]
    )


def test_wheels_are_loaded_for_as_long_as_layers_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = config.load_text(f'[build]\ndir = "{tmp_path}"\n', tmp_path / "cube.toml")
    told: list[object] = []

    @contextlib.contextmanager
    def loading(wanted: Spec, cache: object, **more: object) -> Iterator[None]:
        told.extend((wanted is loaded, cache, more["todo"]))
        yield
        told.append("ended")

    def layers(*_: object) -> list[Link]:
        told.append("layers")
        return []

    for module in (package_cache, wheel_cache):
        name = module.__name__
        monkeypatch.setattr(module, "opened", lambda *_, name=name: contextlib.nullcontext(name))
    monkeypatch.setattr(prefetch, "loading", loading)
    monkeypatch.setattr(Build, "base", lambda *_: None)
    monkeypatch.setattr(Build, "layers", layers)
    build = Build(
        spec=loaded, work=Workspace.of(loaded), timeline=Timeline(), keep=False, fresh=False, to=""
    )
    todo = ("layer1", "layer4")
    build.links(Plan(refresh="never", todo=todo))
    assert told == [True, "cube.supply.wheel_cache", todo, "layers", "ended"]
