"""The lock of a framework: every package with its hashes, and a header that says what it answers.

All is judged offline: a lock that was made for other requirements, or changed by hand, is found
before anything is downloaded.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from cube.runtime.errors import StackError
from cube.stack.profile import Framework, Profile

#: What every lock is made for: the systems' own Pythons (compatibility.toml, system).
PLATFORM = "Linux x86_64, Python 3.12 and 3.13"
#: A pinned package: name, version, marker. Source: pip, "Requirements File Format".
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)(?:\s*;\s*([^\\]*?))?\s*\\?$")
HASH = re.compile(r"^    --hash=sha256:([0-9a-f]{64})(?: \\)?$")
#: Where a line of a header begins.
HEADER = "# "


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A package of a lock. `line` counts from 1."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    line: int


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A lock that was read; `problems` are lines that are not what they must be."""

    header: dict[str, str]
    entries: tuple[Entry, ...]
    body: str
    problems: tuple[str, ...]

    def version(self, package: str) -> str:
        """Return the version of a package; empty where it is not in the lock."""
        wanted = plain(package)
        return next((one.version for one in self.entries if plain(one.name) == wanted), "")


def plain(package: str) -> str:
    """Return a package's name as it is compared. Source: PyPA, "Names and normalization"."""
    return re.sub(r"[-_.]+", "-", package).lower()


def render(profile: Profile, framework: Framework, body: str) -> str:
    """Return the text of a lock: the header, then what uv resolved."""
    header = {
        "Made by": f"cube stack lock {profile.name} --framework {framework.name}",
        "profile": profile.name,
        "framework": framework.name,
        "for": PLATFORM,
        "requirements": ", ".join(framework.requirements),
        "content": f"sha256:{digest(body)}",
    }
    lines = [f"{HEADER}{key}: {value}" for key, value in header.items()]
    return "\n".join(lines) + "\n" + body


def digest(body: str) -> str:
    """Return the checksum of what follows the header."""
    return hashlib.sha256(body.encode()).hexdigest()


def parse(text: str) -> Lock:
    """Read a lock; what is wrong with its lines is kept, not raised."""
    lines = text.splitlines(keepends=True)
    count = next((at for at, line in enumerate(lines) if line[0] != "#"), len(lines))
    pairs = (line.removeprefix(HEADER).strip().partition(": ") for line in lines[:count])
    entries: list[Entry] = []
    problems: list[str] = []
    for at, line in enumerate(lines[count:], start=count + 1):
        if pin := PIN.match(line.rstrip("\n")):
            name, version, marker = pin.groups(default="")
            entries.append(Entry(name=name, version=version, marker=marker, hashes=(), line=at))
        elif (found := HASH.match(line.rstrip("\n"))) and entries:
            last = entries.pop()
            hashes = (*last.hashes, found.group(1))
            entries.append(Entry(**{**vars(last), "hashes": hashes}))
        elif line.strip() and not line.lstrip().startswith("#"):
            problems.append(f"line {at} is no package==version and no sha256: {line.strip()[:60]}")
    problems += [f"line {e.line}: {e.name} has no hash" for e in entries if not e.hashes]
    return Lock(
        header={key: value for key, _, value in pairs},
        entries=tuple(entries),
        body="".join(lines[count:]),
        problems=tuple(problems),
    )


def read(file: Path) -> Lock:
    """Read a lock.

    Raises:
        StackError: there is none.
    """
    try:
        text = file.read_text()
    except (OSError, ValueError) as error:
        raise StackError(f"{file}: cannot be read: {error}", hint="cube stack lock") from error
    return parse(text)


def check(profile: Profile, framework: Framework) -> list[str]:
    """Return why a framework's lock does not answer its profile; nothing where it does."""
    file = profile.lock(framework.name)
    if not file.is_file() or not file.stat().st_size:
        return [f"{file}: there is no lock: cube stack lock {profile.name}"]
    lock = read(file)
    found = [*lock.problems[:3], *mismatches(lock, profile, framework)]
    if len(lock.problems) > len(lock.problems[:3]):
        found.append(f"{len(lock.problems)} lines are wrong in all")
    return [f"{file}: {text}" for text in found]


def mismatches(lock: Lock, profile: Profile, framework: Framework) -> list[str]:
    """Compare a lock with the framework that it must answer."""
    wanted = {
        "profile": profile.name,
        "framework": framework.name,
        "requirements": ", ".join(framework.requirements),
    }
    found = [
        f"its {key} is {lock.header.get(key, 'not told')!r}, the profile says {value!r}:"
        f" cube stack lock {profile.name}"
        for key, value in wanted.items()
        if lock.header.get(key) != value
    ]
    if lock.header.get("content") != f"sha256:{digest(lock.body)}":
        found.append("it was changed after it was made: its checksum is another one")
    return found + unanswered(lock, framework)


def unanswered(lock: Lock, framework: Framework) -> list[str]:
    """Return the requirements that no package of a lock answers."""
    found = []
    for line in framework.requirements:
        name, _, version = line.partition("==")
        bare = re.split(r"[\[<>=!~; ]", name)[0]
        locked = lock.version(bare)
        if not locked or (version and not answers(locked, version)):
            found.append(f"{line} is required, it has {locked or 'none'}")
    return found


def answers(locked: str, wanted: str) -> bool:
    """Tell whether a version is the wanted one: "13.0.*" is a beginning, "+cpu" may follow."""
    if wanted.endswith(".*"):
        return f"{locked}.".startswith(wanted[:-1])
    return wanted in (locked, locked.split("+", maxsplit=1)[0])
