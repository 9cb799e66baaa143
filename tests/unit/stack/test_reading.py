"""Profiles and the table are read strictly: mistakes are told with file and key."""

from pathlib import Path

import pytest

from cube.runtime.errors import StackError
from cube.stack import profile, table

PROFILE = (profile.SHIPPED / "cube" / profile.FILE).read_text()
TABLE = table.FILE.read_text()

BAD_PROFILES = [
    (
        "unknown key",
        PROFILE.replace("branch =", "brunch ="),
        'brunch: unknown key: did you mean "branch"?',
    ),
    ("missing", PROFILE.replace('cudnn = "9"\n', ""), "cudnn: missing: it has no default"),
    ("no version", PROFILE.replace('"13.0"', '"newest"', 1), "cuda = 'newest'"),
    ("a number", PROFILE.replace('"9"', "9", 1), "cudnn = 9: write text in quotes"),
    ("modules", PROFILE.replace('"open"', '"nouveau"'), "modules = 'nouveau'"),
    ("no size", PROFILE.replace("disk_mib = 5900", "disk_mib = 0"), "pytorch.disk_mib = 0"),
    ("key of a framework", PROFILE + "\npip = 1\n", "frameworks.vllm.pip: unknown key"),
    ("not a table", "frameworks = 3\n" + PROFILE.split("[frameworks")[0], "frameworks = 3"),
    ("not TOML", "summary = ", "not valid TOML"),
]


@pytest.mark.parametrize(("what", "text", "expected"), BAD_PROFILES)
def test_a_bad_profile(what: str, text: str, expected: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / profile.FILE).write_text(text)
    with pytest.raises(StackError) as caught:
        profile.load(str(folder))
    told = f"{caught.value.message}\n{caught.value.details}"
    assert expected in told
    assert str(folder / profile.FILE) in caught.value.message


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / profile.FILE).write_text(PROFILE)
    found = profile.load(str(tmp_path))
    assert found.name == tmp_path.name
    assert found.lock("vllm") == tmp_path / "vllm.txt"


def test_no_such_profile() -> None:
    with pytest.raises(StackError, match="cannot be read") as caught:
        profile.load("cubo")
    assert caught.value.hint.startswith("shipped are cube, specification")


BAD_TABLES = [
    ("no source", TABLE.replace("source =", "sauce =", 1), "gpu.v100.source: missing"),
    ("empty source", TABLE.replace('source = "PCI', 'source = "" # "PCI', 1), "gpu.v100.source"),
    ("unknown key", TABLE.replace("memory_mib", "memory", 1), "gpu.v100.memory: unknown key"),
    ("a wrong id", TABLE.replace('"2b85"', '"0x2b85"'), "gpu.rtx-5090.pci[0] = '0x2b85'"),
    ("a version", TABLE.replace('floor = "580"', 'floor = "R580"', 1), 'cuda."13.0".floor'),
    ("modules", TABLE.replace('["open"]', '["opened"]'), "architecture.blackwell.modules[0]"),
]


@pytest.mark.parametrize(("what", "text", "expected"), BAD_TABLES)
def test_a_bad_table(what: str, text: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "compatibility.toml"
    file.write_text(text)
    with pytest.raises(StackError) as caught:
        table.load(file)
    told = f"{caught.value.message}\n{caught.value.details}"
    assert expected in told
    assert caught.value.message.startswith(str(file))


def test_every_row_of_the_table_points_at_rows_that_are_there() -> None:
    known = table.load()
    assert {row.architecture for row in known.gpu.values()} == set(known.architecture)
    assert {row.torch for row in known.vllm.values()} <= set(known.torch)
    assert {row.cuda for row in known.torch.values()} <= set(known.cuda)
    ids = [one for row in known.gpu.values() for one in row.pci]
    assert len(ids) == len(set(ids))
