"""Whether two boxes are in the same state: what is read, and what may differ."""

import fnmatch
import tomllib
from pathlib import Path

from cube.runtime.errors import CubeError

HERE = Path(__file__).parent
DATA = tomllib.loads((HERE / "state.toml").read_text())
#: What a state says only of a box that lacks something.
LACKS = ("stat: ", "sha256sum: ", "failed ", "upgrade ", "firewall Status: inactive")
#: What it must say, or nothing was read.
PARTS = ("package ", "unit ", "file ", "content ", "sshd ", "firewall Status: active")


def script(*, trees: bool, upgrade: bool = True) -> str:
    """Return the script that prints a box's state: also of whole folders, also apt's upgrade."""
    lists = {name.upper(): DATA[name] for name in ("files", "units", "kernel")}
    lists |= {"TREES": DATA["trees"] if trees else [], "UPGRADE": ["yes"] if upgrade else []}
    head = "".join(f"{name}='{' '.join(words)}'\n" for name, words in lists.items())
    return head + (HERE / "state.sh").read_text()


def kept(line: str) -> bool:
    """Tell whether a line must be the same on every box."""
    what, name, *_ = [*line.split(" ", 2), ""]
    differs = any(fnmatch.fnmatch(name, pattern) for pattern in DATA["may_differ"])
    return what not in {"tree", "content", "file"} or not differs


def require_same(first: str, state: str, name: str) -> None:
    """Refuse to compare the speed of tools that did not do the same."""
    left, right = ({*filter(kept, one.splitlines())} for one in (first, state))
    if found := sorted(left ^ right, key=lambda line: line.split(" ")[:2]):
        raise CubeError(
            f"{name} and the first box are in different states: {len(found)} lines differ",
            hint="make the playbook in bench/ansible do what the roles do, or say in"
            " bench/state.toml why it may differ",
            details="\n".join(f"{'+' if line in right else '-'} {line}" for line in found[:60]),
        )


def require_whole(state: str, name: str) -> None:
    """Refuse a state that lacks something, or in which a unit has failed."""
    lines = state.splitlines()
    absent = [line for line in lines if line.startswith(LACKS)]
    absent += [f"no {part}" for part in PARTS if not any(one.startswith(part) for one in lines)]
    if absent:
        raise CubeError(f"{name} left a box that lacks something", details="\n".join(absent))
