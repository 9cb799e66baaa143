"""Wheels that are loaded beside other layers, through a real index in front of a small one."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from cube import config
from cube.runtime import log
from cube.supply import index_process, prefetch
from cube.supply.wheel_cache import WheelCache
from tests.unit.supply.wheel_index.origin import WHEEL, Origin, running, sha256

DIGEST = sha256(WHEEL)
LOCK = f"some-package==1.0+cpu \\\n    --hash=sha256:{DIGEST}\n"
TODO = ("layer1", "layer4", "layer5")
SOON_S = 20


@dataclass(frozen=True)
class Place:
    """An index, ours in front of it, and a lock."""

    origin: type[Origin]
    cache: WheelCache

    @property
    def kept(self) -> list[str]:
        """Names in the folder of files."""
        return [file.name for file in self.cache.folder.glob("files/*")]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    lock = tmp_path / "lock.txt"
    lock.write_text(LOCK)
    monkeypatch.setattr(prefetch, "host_data", lambda _: {"framework_locks": [str(lock)]})
    origin = type("Bound", (Origin,), {"asked": Counter()})
    with (
        running(ThreadingHTTPServer(("127.0.0.1", 0), origin)) as far,
        index_process.started(f"{far}/simple", tmp_path / "wheels", locks=[lock]) as url,
    ):
        yield Place(origin, WheelCache(index="", folder=tmp_path / "wheels", url=url))


def a_spec(mode: str = "assume") -> config.Spec:
    return config.load_text(f'[gpu]\nmode = "{mode}"\n', Path("cube.toml"))


def wait_for(place: Place, *either: list[str]) -> None:
    deadline = time.monotonic() + SOON_S
    while place.kept not in either:
        assert time.monotonic() < deadline, place.kept
        time.sleep(0.01)


def test_what_the_locks_name_lies_there_when_it_is_wanted(place: Place) -> None:
    told: list[str] = []
    with log.listening(lambda event: told.append(event.text)):
        with prefetch.loading(a_spec(), place.cache, todo=TODO, gpus=()):
            wait_for(place, [DIGEST])
        with prefetch.loading(a_spec(), place.cache, todo=TODO, gpus=()):
            pass
    assert place.origin.asked["/deep/w.whl"] == 1
    assert [text for text in told if text.startswith("wheels: ")] == [
        "wheels: 2 MiB were loaded beside the layers below"
    ]


@pytest.mark.parametrize(
    ("mode", "todo", "gpus", "expected"),
    [
        ("assume", TODO, (), True),
        ("auto", TODO, ("10de:2b85",), True),
        ("auto", TODO, (), False),  # layer 4 will be skipped
        ("skip", TODO, ("10de:2b85",), False),
        ("assume", ("layer4", "layer5"), (), False),  # it is the first: uv loads at once
        ("assume", ("layer1",), (), False),
        ("assume", (), (), False),
    ],
)
def test_only_what_a_later_layer_wants_is_loaded(
    place: Place, mode: str, todo: tuple[str, ...], gpus: tuple[str, ...], expected: bool
) -> None:
    with prefetch.loading(a_spec(mode), place.cache, todo=todo, gpus=gpus):
        named = [one.name for one in threading.enumerate()]
        assert ("wheels ahead" in named) == expected


def test_without_an_index_nothing_is_loaded() -> None:
    with prefetch.loading(a_spec(), None, todo=TODO, gpus=()):
        assert "wheels ahead" not in [one.name for one in threading.enumerate()]


def test_a_build_that_ends_does_not_wait_for_a_file(place: Place) -> None:
    place.origin.hold = threading.Event()
    told: list[str] = []
    with log.listening(lambda event: told.append(event.text)):
        with prefetch.loading(a_spec(), place.cache, todo=TODO, gpus=()):
            while not place.kept:
                time.sleep(0.01)
            started = time.monotonic()
        assert time.monotonic() - started < SOON_S / 4  # the origin holds it for 20 s
    # None of it is whole; that the index process lost its reader is no word of the prefetch.
    assert not [text for text in told if text.startswith("wheels: ") and "broke off" not in text]
    place.origin.hold.set()
    # No part stays; the index may have the rest before it sees that its reader has gone.
    wait_for(place, [], [DIGEST])


def test_without_a_network_nothing_fails(place: Place) -> None:
    place.origin.down = 503
    with prefetch.loading(a_spec(), place.cache, todo=TODO, gpus=()):
        while not place.origin.asked["/simple/some-package/"]:
            time.sleep(0.01)
    assert place.kept == []


def test_what_would_not_be_kept_is_not_loaded(place: Place) -> None:
    loader = prefetch.loader_of(a_spec(), place.cache)
    loader.floor_bytes = 2**62
    loader.fetch("/files/x/y", DIGEST, len(WHEEL))
    assert loader.loaded == 0
    assert place.origin.asked["/deep/w.whl"] == 0


def test_a_lock_that_is_gone_is_left_to_the_layer(place: Place, tmp_path: Path) -> None:
    prefetch.work(prefetch.loader_of(a_spec(), place.cache), [tmp_path / "none.txt"])
    assert place.kept == []
