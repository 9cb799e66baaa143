"""Lists of questions: kept for a host and what is run on it; a bad one is no list."""

from pathlib import Path

import pytest

from deploy.connector import memory


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def path(host: str = "desk1", *run: str) -> Path:
    return memory.file(host, run, "sh")


def test_a_list_comes_back() -> None:
    memory.save(path(), ["sh -c 'echo ü'", "sh -c true"])
    assert memory.load(path()) == ["sh -c 'echo ü'", "sh -c true"]


def test_only_its_owner_reads_it() -> None:
    memory.save(path(), ["true"])
    assert path().stat().st_mode & 0o077 == 0
    assert path().parent.stat().st_mode & 0o077 == 0


def test_flags_do_not_matter_but_host_and_files_do() -> None:
    one = path("desk1", "inventory.py", "deploy/site.py")
    assert path("desk1", "inventory.py", "-y", "deploy/site.py") == one
    assert path("desk2", "inventory.py", "deploy/site.py") != one
    assert path("desk1", "inventory.py", "deploy/layer1.py") != one


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", '["a", null]', "\udcff"])
def test_a_damaged_list_is_none(text: str) -> None:
    path().parent.mkdir(parents=True)
    path().write_bytes(text.encode(errors="surrogateescape"))
    assert memory.load(path()) == []


def test_a_list_that_others_may_write_is_none() -> None:
    memory.save(path(), ["true"])
    path().chmod(0o666)
    assert memory.load(path()) == []


def test_a_folder_that_others_may_write_has_no_list() -> None:
    memory.save(path(), ["true"])
    path().parent.chmod(0o777)
    assert memory.load(path()) == []


def test_no_list_is_none() -> None:
    assert memory.load(path()) == []


def test_a_list_that_is_too_long_is_not_kept() -> None:
    memory.save(path(), ["true"] * (memory.MOST + 1))
    memory.save(path(), ["x" * memory.LONGEST, "y"])
    assert not path().exists()


def test_a_folder_that_cannot_be_written_is_no_error(cache: Path) -> None:
    (cache / "vault-cube").write_text("a file")
    memory.save(path(), ["true"])
    assert memory.load(path()) == []
