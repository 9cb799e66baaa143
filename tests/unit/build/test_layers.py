"""A layer becomes a link only of the sources that it was made from."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from cube.build.layers import LayerBuilder
from cube.chain.key import keys, sources
from cube.chain.plan import Planner
from cube.chain.store.integrity import damaged
from cube.chain.store.link import Link
from cube.chain.store.links import Store
from cube.machines import Machine
from cube.provision import pyinfra_run, pytest_run
from cube.provision.pyinfra_run import Applied
from cube.runtime.check_report import Check, CheckReport
from cube.runtime.errors import ChainError, ProvisionError
from cube.supply import package_cache
from cube.supply.wheel_cache import WheelCache
from tests.unit.chain import samples
from tests.unit.chain.project import spec

CHECK = Check(id="a", title="a", group="layer1", outcome="passed", evidence="vm")


@dataclass(frozen=True)
class Fake:
    """A machine that does as it is told."""

    endpoint: object = None

    def reboot(self) -> None: ...

    def shutdown(self) -> None: ...


@contextlib.contextmanager
def boot(disk: Path) -> Iterator[Machine]:
    samples.write(disk, "layer")
    yield cast(Machine, Fake())


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LayerBuilder:
    def apply(layer: int, *_: object, **__: object) -> Applied:
        return Applied(layer=layer, skipped="no GPU" if layer in (2, 3, 4) else "")

    monkeypatch.setattr(pyinfra_run, "apply", apply)
    monkeypatch.setattr(pyinfra_run, "prove_idempotent", lambda *_, **given: given["first"])
    monkeypatch.setattr(pytest_run, "run_checks", lambda _: CheckReport(checks=(CHECK,)))
    store = Store(folder=tmp_path / "chain")
    store.prepare()
    return LayerBuilder(planner=Planner(spec=spec(), store=store), boot=boot, results=tmp_path)


@pytest.fixture
def base(builder: LayerBuilder) -> Link:
    wanted = keys.base_ingredients(builder.planner.spec, refresh="never")
    samples.create_disk(builder.store.begin())
    return builder.store.freeze(wanted, seconds=60)


def test_every_layer_becomes_a_link(builder: LayerBuilder, base: Link) -> None:
    links = builder.build([1, 2, 3, 4, 5], base)
    assert [link.name for link in links] == ["layer1", "layer2", "layer3", "layer4", "layer5"]
    assert [bool(link.skipped) for link in links] == [False, True, True, True, False]
    assert links[-1].parent == links[0].key
    assert builder.store.head == links[-1]


def test_what_is_there_is_taken_over(builder: LayerBuilder, base: Link) -> None:
    links = builder.build([1, 2, 3, 4, 5], base)
    assert builder.build([1, 2, 3, 4, 5], base) == links


def test_what_is_taken_over_above_a_layer_that_is_skipped_anew_is_read_first(
    builder: LayerBuilder, base: Link
) -> None:
    *_, layer5 = builder.build([1, 2, 3, 4, 5], base)
    changed = Planner(spec=spec(**{"gpu.mode": "skip"}), store=builder.store)
    samples.flip(layer5.disk, -1)
    made = replace(builder, planner=changed).build([1, 2, 3, 4, 5], base)
    assert made[-1].key == layer5.key
    assert made[-1].created != layer5.created
    assert builder.store.head == made[-1]
    assert damaged(made, builder.store.links()) == []


def test_a_source_that_changes_meanwhile_spoils_the_link(
    builder: LayerBuilder, base: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = sources.hashes
    edited: dict[str, str] = {}

    def hashed(*args: Any) -> dict[str, str]:
        return {**hashes(*args), **edited}

    def judged(_: object) -> CheckReport:
        edited["deploy/roles/users.py"] = "0" * 64
        return CheckReport(checks=(CHECK,))

    monkeypatch.setattr(sources, "hashes", hashed)
    monkeypatch.setattr(pytest_run, "run_checks", judged)
    with pytest.raises(ChainError, match=r"deploy/roles/users\.py changed") as caught:
        builder.build([1], base)
    assert "cube build again" in caught.value.hint
    assert [link.name for link in builder.store.links()] == ["base"]
    assert builder.store.unfinished.exists()


@pytest.mark.parametrize(
    ("details", "reached", "tries"),
    [
        ("Hash Sum mismatch", True, 2),
        ("Hash Sum mismatch", False, 1),
        ("Failed to fetch https://x: timed out", True, 2),
        ("dpkg: broken", True, 1),
    ],
)
def test_a_layer_is_tried_again_without_a_cache_that_spoils_it(
    builder: LayerBuilder, base: Link, details: str, reached: bool, tries: int
) -> None:
    calls: list[str] = []

    def apply(*_: object, **__: object) -> Applied:
        calls.append("apply")
        if "withdraw" not in calls:
            raise ProvisionError("layer 1: failed", details=details)
        return Applied(layer=1)

    folder = builder.results
    cache = package_cache.PackageCache(url="http://a:1", guest_url="http://a:1", folder=folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyinfra_run, "apply", apply)
        patch.setattr(package_cache, "lend", lambda *_: calls.append("lend"))
        patch.setattr(package_cache, "reached", lambda *_: reached)
        patch.setattr(package_cache, "withdraw", lambda *_: calls.append("withdraw"))
        with contextlib.suppress(ProvisionError):
            replace(builder, cache=cache).build([1], base)
    assert calls[0] == "lend"
    assert calls.count("apply") == tries
    # Nothing at all may be the mirror's fault, and the files stay good.
    assert (folder / "distrusted").exists() == (details == "Hash Sum mismatch" and reached)


@pytest.mark.parametrize(
    ("details", "indexes"),
    [
        (["Failed to fetch: `http://b:2/files/x`"], ["http://b:2/simple", ""]),
        (["Hash Sum mismatch"], ["http://b:2/simple", "http://b:2/simple"]),
        (["Hash Sum mismatch", "Hash mismatch"], ["http://b:2/simple", "http://b:2/simple", ""]),
        (["Hash mismatch", "Hash mismatch"], ["http://b:2/simple", ""]),
        (["no space"], ["http://b:2/simple"]),
    ],
)
def test_each_cache_that_may_be_at_fault_is_done_without(
    builder: LayerBuilder,
    base: Link,
    details: list[str],
    indexes: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    reached = [True]

    def apply(*_: object, index: str, **__: object) -> Applied:
        asked.append(index)
        if details:
            raise ProvisionError("layer 1: failed", details=details.pop(0))
        return Applied(layer=1)

    monkeypatch.setattr(pyinfra_run, "apply", apply)
    monkeypatch.setattr(package_cache, "lend", lambda *_: None)
    monkeypatch.setattr(package_cache, "reached", lambda *_: bool(reached))
    monkeypatch.setattr(package_cache, "withdraw", lambda *_: reached.clear())
    folder = builder.results
    cache = package_cache.PackageCache(url="http://a:1", guest_url="http://a:1", folder=folder)
    wheels = WheelCache(index="http://b:2/simple", folder=folder)
    with contextlib.suppress(ProvisionError):
        replace(builder, cache=cache, wheels=wheels).build([1], base)
    assert asked == indexes


def test_the_cache_is_taken_away_before_the_machine_restarts(
    builder: LayerBuilder, base: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(package_cache, "lend", lambda *_: calls.append("lend"))
    monkeypatch.setattr(package_cache, "withdraw", lambda *_: calls.append("withdraw"))
    monkeypatch.setattr(Fake, "reboot", lambda _: calls.append("reboot"))
    builder.build([1], base)
    assert calls == ["lend", "withdraw", "reboot"]
