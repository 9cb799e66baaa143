"""kill -9 at every step of a link's life: the store stays valid and the work goes on."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cube.chain.store.integrity import damaged
from cube.chain.store.links import Store
from tests.unit.chain import samples
from tests.unit.chain.transfer import crash

KEY = re.compile(r"-[0-9a-f]{12}$")
PROJECT = Path(__file__).resolve().parents[4]
TIMEOUT_S = 60


@dataclass(frozen=True)
class Cut:
    """A step, and the store as a process left it that died there."""

    step: str
    store: Store


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a base and layers 1 and 2."""
    store = Store(folder=tmp_path_factory.mktemp("short") / "chain")
    store.prepare()
    samples.add_chain(store, top=2)
    return store.folder


def cuts(life: str, template: Path, target: Path) -> list[Cut]:
    """Let processes die at every step of a life."""
    argv = [
        sys.executable,
        "-m",
        "tests.unit.chain.transfer.crash",
        life,
        str(template),
        str(target),
    ]
    done = subprocess.run(
        argv, cwd=PROJECT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return [Cut(step=cut["step"], store=Store(folder=Path(cut["store"]))) for cut in told]


def check(store: Store, when: str) -> None:
    """A store is valid: what has its name is whole, down to the base, and nothing lies around."""
    links = store.links()
    assert damaged(links, links) == [], when
    assert {link.folder for link in links} == set(store.folders()), when
    assert not list(store.folder.glob(".doomed*")), when
    for link in links:
        assert store.lineage(link)[0].name == "base", when
    assert store.named("") in links, when


#: Some of the steps at which each life must have been cut off; a key is left out.
STEPS = {
    "freeze": [
        "mkdir unfinished", "create_overlay disk.qcow2", "write disk.qcow2", "fsync disk.qcow2",
        "power cut disk.qcow2", "chmod disk.qcow2", "sha256 disk.qcow2", "fsync .link.json.new",
        "power cut .link.json.new", "replace .link.json.new", "fsync unfinished",
        "rename unfinished", "fsync chain", "fsync .head.new", "power cut .head.new",
        "replace .head.new",
    ],
    "skip": [
        "mkdir .skipped", "power cut .link.json.new", "rename .skipped", "fsync chain",
        "rename layer3", "rmdir .doomed-layer3",
    ],
    "remove": [
        "rename layer2", "unlink disk.qcow2", "unlink link.json", "rmdir .doomed-layer2",
        "rename layer1", "rmdir .doomed-layer1",
    ],
    "roll": ["utime aside", "replace .head.new", "unlink aside"],
    "take_in": [
        "mkdir .doomed-import", "mkdir layer3", "fsync disk.qcow2", "power cut link.json",
        "rename layer3", "fsync chain",
    ],
    "prepare": ["power cut .format.new", "replace .format.new", "rmdir .doomed-layer2"],
}  # fmt: skip
#: How the work goes on; what was removed is made again.
NEXT = {
    "freeze": crash.freeze, "skip": crash.skip, "roll": crash.take_back, "take_in": crash.take_in,
}  # fmt: skip


@pytest.mark.parametrize("life", STEPS)
def test_a_store_outlives_whoever_writes_it(
    life: str, short: Path, tmp_path: Path, warnings: list[str]
) -> None:
    found = cuts(life, short, tmp_path)
    assert set(STEPS[life]) <= {KEY.sub("", cut.step) for cut in found}
    for cut in found:
        cut.store.prepare()
        check(cut.store, f"after the {cut.step}")
        NEXT.get(life, crash.replace)(cut.store)
        check(cut.store, f"in the next build after the {cut.step}")
    assert warnings == []


def test_every_life_is_cut_off() -> None:
    assert STEPS.keys() == crash.LIVES.keys()
