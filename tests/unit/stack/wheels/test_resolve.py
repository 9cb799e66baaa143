"""Locks by the real uv, from an index that is a folder."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from cube.runtime.errors import StackError
from cube.stack import lockfile, profile
from cube.stack.profile import Framework, Profile
from cube.stack.wheels import resolve

WHEEL = "tiny-1.0-py3-none-any.whl"
INFO = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an index that has version 1.0 of one package. Source: PEP 503."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    page = tmp_path / "index/tiny/index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="{WHEEL}">{WHEEL}</a>')
    with zipfile.ZipFile(page.with_name(WHEEL), "w") as packed:
        packed.writestr("tiny-1.0.dist-info/METADATA", INFO)
        packed.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        packed.writestr("tiny-1.0.dist-info/RECORD", "")
    return (tmp_path / "index").as_uri()


def asking_for(folder: Path, requirement: str) -> Profile:
    """Return a profile of one framework with one requirement."""
    framework = Framework(name="tiny", version="1.0", requirements=(requirement,), disk_mib=1)
    return profile.load("cube").model_copy(
        update={"name": "mine", "folder": folder, "frameworks": {"tiny": framework}}
    )


def test_a_lock_answers_what_it_was_made_for(index: str, tmp_path: Path) -> None:
    chosen = asking_for(tmp_path, "tiny==1.0")
    (file,) = resolve.lock(chosen, ["tiny"], index=index)
    (entry,) = lockfile.read(file).entries
    wheel = tmp_path / "index/tiny" / WHEEL
    assert entry.hashes == (hashlib.sha256(wheel.read_bytes()).hexdigest(),)
    assert lockfile.check(chosen, chosen.frameworks["tiny"]) == []
    assert str(tmp_path) not in file.read_text()


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        ("tiny==9.9", "there is no version of tiny==9.9"),
        ("none==1.0", "none was not found in the package registry"),
        ("tiny=1.0", "tiny=1.0"),
    ],
)
def test_a_version_that_does_not_exist_is_named(
    requirement: str, reason: str, index: str, tmp_path: Path
) -> None:
    chosen = asking_for(tmp_path, requirement)
    with pytest.raises(StackError, match="tiny of mine: uv found no set of packages") as caught:
        resolve.lock(chosen, ["tiny"], index=index)
    assert reason in " ".join(caught.value.details.split())
    assert not chosen.lock("tiny").exists()
