"""Which hosts the words of a command line mean."""

from pathlib import Path

import pytest

from cube import config
from cube.config import Spec
from cube.hosts.choice import choose
from cube.runtime.errors import CubeError

NAMES = ("desk1", "desk2", "desk10", "lab")


@pytest.fixture
def listing(tmp_path: Path) -> Spec:
    file = tmp_path / "cube.toml"
    tables = "".join(f'[hosts.{name}]\naddress = "192.0.2.1"\n' for name in NAMES)
    file.write_text('[build]\ndir = "build"\n' + tables)
    return config.load(file)


@pytest.mark.parametrize(
    ("words", "every", "exclude", "names"),
    [
        (["lab", "desk1"], False, [], ["lab", "desk1"]),
        (["desk*"], False, [], ["desk1", "desk2", "desk10"]),
        (["desk[1-2]", "desk1"], False, [], ["desk1", "desk2"]),
        ([], True, [], list(NAMES)),
        ([], True, ["desk?", "lab"], ["desk10"]),
        (["desk1"], True, [], list(NAMES)),
        (["lab", "anna@192.0.2.7"], False, ["lab"], ["anna@192.0.2.7"]),
    ],
)
def test_words_and_patterns_name_hosts_once_in_order(
    words: list[str], every: bool, exclude: list[str], names: list[str], listing: Spec
) -> None:
    assert list(choose(listing, words, every=every, exclude=exclude)) == names


def test_an_address_keeps_its_options_and_is_called_without(listing: Spec) -> None:
    word = "ssh://anna@192.0.2.7:2222?ssh_identity_file=/k"
    assert choose(listing, [word]) == {"anna@192.0.2.7:2222": word}


@pytest.mark.parametrize(
    ("words", "exclude", "message"),
    [
        (["desk3"], [], "no host is called desk3 (known: desk1, desk2, desk10, lab)"),
        (["rack*"], [], "no host matches 'rack*'"),
        (["lab"], ["desk1"], "--exclude desk1 leaves nothing out"),
        (["lab"], ["*"], "no host is left to work on"),
        (["lab", "anna@"], [], "anna@: not an address"),
    ],
)
def test_a_word_that_means_nothing_is_refused_before_anything_is_done(
    words: list[str], exclude: list[str], message: str, listing: Spec
) -> None:
    with pytest.raises(CubeError) as caught:
        choose(listing, words, exclude=exclude)
    assert caught.value.message.startswith(message)
