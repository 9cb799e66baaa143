"""Any text at all gives a configuration or an error in plain words, and within seconds."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cube import config
from cube.config import Spec
from cube.runtime.errors import SpecError
from tests.unit.config import toml

FILE = Path("/folder/cube.toml")
#: Words of Python and of pydantic, which say nothing to a person who writes TOML.
FOREIGN = (
    "tuple",
    "instance of",
    "Input should",
    "NoneType",
    "True",
    "False",
    "datetime.",
    "dict",
    "pydantic",
    "Traceback",
    "null byte",
    "codec",
    "object",
    "Value error",
    "Exceeds",
)
BOUNDED = settings(
    max_examples=150,
    deadline=10_000,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)


def mistakes(text: str) -> list[str]:
    """Return the lines of what is told; none for a configuration."""
    told = refusal(lambda: config.load_text(text, FILE))
    assert told is None or told.message.startswith(str(FILE))
    return (told.details or told.message).splitlines() if told else []


def refusal(load: Callable[[], Spec]) -> SpecError | None:
    """Return why there is no configuration; None when there is one."""
    try:
        load()
    except SpecError as error:
        return error
    return None


@BOUNDED
@given(toml.documents())
def test_a_made_up_file_is_accepted_or_told_in_plain_words(text: str) -> None:
    for line in mistakes(text):
        assert line.startswith(f"{FILE}: ")
        assert line.isprintable()
        told = line.rsplit(": ", 1)[1]
        assert not [word for word in FOREIGN if word in told], line


@BOUNDED
@given(st.text())
def test_any_text_is_accepted_or_told(text: str) -> None:
    mistakes(text)


@BOUNDED
@given(st.binary())
def test_any_bytes_are_accepted_or_told(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = tmp_path_factory.mktemp("spec") / "cube.toml"
    file.write_bytes(data)
    told = refusal(lambda: config.load(file))
    assert told is None or str(file) in told.message


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 4000 + "]" * 4000,
        "a = " + "{a = " * 1500,
        "a" + ".a" * 4000 + " = 1",
        "\n".join(f"x{at}{'.a' * 1000} = 1" for at in range(100)),
        "\n".join(f'["x {at}"{".a" * 1000}]' for at in range(100)),
        "[image]\nname = " + "[" * 50 + "]" * 50,
        "[gpu]\ncount = " + "9" * 5000,
        "[gpu]\ncount = 0x" + "f" * 5000,
        "[gpu]\nmemory_mib = 0x" + "f" * 5000,
        "[build]\nrefresh = '" + "9" * 5000 + " days'",
        "[layers]\nenabled = [0x" + "f" * 5000 + "]",
        "[layers]\nlayer1 = ['" + "x" * 7000 + "', '" + "\u202e" * 9 + "']",
        "[build]\nmemory = '" + "9" * 5000 + " GiB'",
        "[stack]\nimages = [" + "1," * 4000 + "]",
        "\n".join(f"key{at} = 1" for at in range(20_000)),
        "[image]\n" + "\n".join(f"{'k' * 90}{at} = 1" for at in range(2_000)),
        "[admin]\nssh_keys = ['" + "A" * 8000 + "']",
        "[build]\ndir = '" + "x/" * 2500 + "'",
        "x" * 300_000,
        "\n".join(["x" * 8000] * 30),
        "\n".join(["'" * 8000] * 30),
        "\n".join(["a." * 39 + "b-" * 3000] * 30),
    ],
    ids=range(22),
)
def test_what_is_deep_huge_or_long_is_told_at_once(text: str) -> None:
    started = time.monotonic()
    lines = mistakes(text)
    assert time.monotonic() - started < 5
    assert 0 < len(lines) <= 51
    assert max(map(len, lines)) < 1000


def test_a_bom_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "cube.toml").write_bytes(b'\xef\xbb\xbf[image]\nname = "mine"\n')
    assert config.load(tmp_path / "cube.toml").image.name == "mine"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# a comment\n# \x07", "line 2: a control character (U+0007): remove it"),
        ("[image]\nname = 'a\x00'", "line 2: a control character (U+0000): remove it"),
        ("[image]\rname = 'a'", "line 1: a control character (U+000D): remove it"),
        ("[image]\nname = 'a\x7f'", "line 2: a control character (U+007F): remove it"),
    ],
)
def test_a_control_character_is_named_with_its_line(text: str, expected: str) -> None:
    assert mistakes(text) == [f"{FILE}: {expected}"]


def test_line_ends_of_windows_are_no_mistake() -> None:
    assert config.load_text("[image]\r\nname = 'mine'\r\n", FILE).image.name == "mine"


@pytest.mark.parametrize("name", ["loop", "x" * 300, "/dev/zero", "/", "a/b", "a\x00b"])
def test_a_file_that_is_none_is_named(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    with pytest.raises(SpecError) as caught:
        config.load(Path(name))
    assert caught.value.message.startswith(name)


def test_several_mistakes_are_counted_and_the_first_are_listed() -> None:
    text = "\n".join(f"key{at} = 1" for at in range(60))
    with pytest.raises(SpecError, match="60 mistakes") as caught:
        config.load_text(text, FILE)
    assert caught.value.details.splitlines()[-1] == f"{FILE}: and 10 more"
