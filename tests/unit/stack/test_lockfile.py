"""Locks: what they must answer, and how damage is found without a network."""

import re
from pathlib import Path

import pytest

from cube.runtime.errors import StackError
from cube.stack import lockfile, profile
from cube.stack.profile import Framework, Profile

BODY = f"""tiny-package[extra]==1.2.3+cpu ; sys_platform == 'linux' \\
    --hash=sha256:{"0" * 64} \\
    --hash=sha256:{"1" * 64}
other==2.0 \\
    --hash=sha256:{"2" * 64}
"""
TINY = Framework(
    name="pytorch", version="1.2.3", requirements=("Tiny.Package[extra]==1.2.3", "other"),
    cuda="", disk_mib=1,
)  # fmt: skip

TESTS = Path(__file__).parents[2] / "integration/profiles"
#: Every profile of the project: those that ship, and those that the integration tests apply.
PROFILES = [
    *profile.names(),
    *(str(file.parent) for file in sorted(TESTS.glob(f"*/{profile.FILE}"))),
]


def test_the_profiles_of_the_integration_tests_are_found() -> None:
    assert set(profile.names()) < set(PROFILES)


@pytest.fixture
def mine(tmp_path: Path) -> Profile:
    """A profile with one framework and its lock."""
    chosen = profile.load("cube").model_copy(
        update={"name": "mine", "folder": tmp_path, "frameworks": {"pytorch": TINY}}
    )
    chosen.lock("pytorch").write_text(lockfile.render(chosen, TINY, BODY))
    return chosen


@pytest.mark.parametrize("name", PROFILES)
def test_a_lock_answers_its_profile(name: str) -> None:
    chosen = profile.load(name)
    assert chosen.frameworks
    assert [
        line for one in chosen.frameworks.values() for line in lockfile.check(chosen, one)
    ] == []


@pytest.mark.parametrize("name", PROFILES)
def test_a_folder_holds_no_lock_that_nobody_checks(name: str) -> None:
    chosen = profile.load(name)
    files = {chosen.lock(framework) for framework in chosen.frameworks}
    assert set(chosen.folder.glob("*.txt")) == files


@pytest.mark.parametrize("name", PROFILES)
def test_a_lock_names_no_host(name: str) -> None:
    chosen = profile.load(name)
    for framework in chosen.frameworks:
        assert not re.search(r"://|--index|--find-links| @ ", chosen.lock(framework).read_text())


@pytest.mark.parametrize("name", profile.names())
def test_pytorch_and_vllm_share_their_packages(name: str) -> None:
    chosen = profile.load(name)
    ours, theirs = (
        {(e.name, e.marker): (e.version, e.hashes) for e in lockfile.read(chosen.lock(one)).entries}
        for one in ("pytorch", "vllm")
    )
    for package in ("torch", "triton", "numpy"):
        shared = [key for key in ours if key[0] == package]
        assert shared
        assert all(ours[key] == theirs[key] for key in shared)


def test_a_lock_is_read(mine: Profile) -> None:
    lock = lockfile.read(mine.lock("pytorch"))
    assert [(e.name, e.version, len(e.hashes)) for e in lock.entries] == [
        ("tiny-package", "1.2.3+cpu", 2),
        ("other", "2.0", 1),
    ]
    assert lock.entries[0].marker == "sys_platform == 'linux'"
    assert lock.header["profile"] == "mine"
    assert lock.problems == ()
    assert lockfile.check(mine, TINY) == []


DAMAGE = [
    ("a digit of a hash", "0" * 64, "0" * 63 + "f", "it was changed after it was made"),
    ("a short hash", "0" * 64, "0" * 63, "line 8 is no package==version and no sha256"),
    ("no hash", f" \\\n    --hash=sha256:{'2' * 64}", "", "other has no hash"),
    ("another algorithm", "sha256:1", "md5:1", "line 9 is no package==version"),
    ("a version", "other==2.0", "other==2.1", "it was changed after it was made"),
    ("a range", "other==2.0", "other>=2.0", "line 10 is no package==version"),
    ("an index", "other==2.0", "--index-url https://x.invalid\nother==2.0", "line 10 is no"),
    ("another profile", "profile: mine", "profile: cube", "its profile is 'cube', the profile"),
    ("no header", "# profile: mine\n", "", "its profile is 'not told'"),
    ("a package is gone", "tiny-package[extra]==1.2.3+cpu", "big==1", "is required, it has none"),
]


@pytest.mark.parametrize(("what", "old", "new", "expected"), DAMAGE, ids=[d[0] for d in DAMAGE])
def test_damage_is_found(what: str, old: str, new: str, expected: str, mine: Profile) -> None:
    file = mine.lock("pytorch")
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    found = lockfile.check(mine, TINY)
    assert any(expected in one for one in found), found
    assert all(one.startswith(str(file)) for one in found)


def test_other_requirements_need_another_lock(mine: Profile) -> None:
    other = TINY.model_copy(update={"requirements": ("Tiny.Package==1.3", "other", "third")})
    told = "\n".join(lockfile.check(mine, other))
    assert "its requirements is" in told
    assert "Tiny.Package==1.3 is required, it has 1.2.3+cpu" in told
    assert "third is required, it has none" in told
    assert "cube stack lock mine" in told


@pytest.mark.parametrize("text", [None, ""])
def test_no_lock(text: str | None, mine: Profile) -> None:
    file = mine.lock("pytorch")
    file.unlink() if text is None else file.write_text(text)
    assert lockfile.check(mine, TINY) == [f"{file}: there is no lock: cube stack lock mine"]


def test_a_lock_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"none\.txt: cannot be read"):
        lockfile.read(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("locked", "wanted", "expected"),
    [
        ("13.0.88", "13.0.*", True),
        ("13.0", "13.0.*", True),
        ("13.01", "13.0.*", False),
        ("2.13.0+cpu", "2.13.0", True),
        ("2.13.0", "2.13", False),
    ],
)
def test_versions_that_answer(locked: str, wanted: str, expected: bool) -> None:
    assert lockfile.answers(locked, wanted) is expected
