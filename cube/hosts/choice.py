"""Which hosts a command line names: words, patterns over cube.toml's table, all but some."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from cube.config import Spec
from cube.hosts.target import FORMS, is_address, parse
from cube.machines import directory
from cube.runtime.errors import CubeError

#: What makes a word a pattern. Source: fnmatch of the standard library.
WILD = frozenset("*?[")


def is_pattern(word: str) -> bool:
    """Tell a pattern, such as ``desk*`` or ``desk[1-5]``, from a name."""
    return not is_address(word) and bool(WILD & set(word))


def choose(
    spec: Spec, words: Sequence[str], *, every: bool = False, exclude: Sequence[str] = ()
) -> dict[str, str]:
    """Return the hosts that a command line means, each once, in its order.

    Args:
        spec: names hosts.
        words: names of ``[hosts.NAME]``, patterns over them, or addresses.
        every: all of ``[hosts.*]``, before the words.
        exclude: names or patterns of those to leave out.

    Returns:
        The word for each host, by the name that it is called.

    Raises:
        CubeError: a word names no host, an exclusion excludes nothing, or nothing is left.
    """
    found: dict[str, str] = {name: name for name in spec.hosts} if every else {}
    for word in words:
        found |= {name_of(one): one for one in matching(spec, word)}
    for pattern in exclude:
        out = [name for name in found if fnmatchcase(name, pattern)]
        if not out:
            raise CubeError(
                f"--exclude {pattern} leaves nothing out", hint=f"the hosts are {listed(found)}"
            )
        for name in out:
            del found[name]
    if not found:
        raise CubeError("no host is left to work on", hint=FORMS)
    return found


def matching(spec: Spec, word: str) -> list[str]:
    """Return the words that one word of a command line stands for.

    Raises:
        CubeError: none, or an address is malformed.
    """
    if is_address(word):
        parse(word)
        return [word]
    if is_pattern(word):
        found = [name for name in spec.hosts if fnmatchcase(name, word)]
        if found:
            return found
        raise CubeError(f"no host matches '{word}' (known: {listed(spec.hosts)})", hint=FORMS)
    if word not in directory.known(spec):
        raise CubeError(f"no host is called {word} (known: {directory.listed(spec)})", hint=FORMS)
    return [word]


def name_of(word: str) -> str:
    """Return what a host is called: an address without its options."""
    return parse(word).name if is_address(word) else word


def listed(names: Iterable[str]) -> str:
    """Return names for a message."""
    return ", ".join(names) or "none"
