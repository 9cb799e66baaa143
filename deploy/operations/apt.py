"""Packages, in few calls of apt."""

import re
import shlex
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace

from pyinfra import host
from pyinfra.api import StringCommand, operation

from deploy.facts import apt as facts
from deploy.operations import beside
from deploy.operations.apt_beside import AHEAD, AHEAD_UNIT, CONFIGURE, FORGET, TAKE
from deploy.operations.containers import ENGINES, spared
from deploy.operations.files import put_atomic
from deploy.runner.allowed import advice, allows

#: A day: as often as the distributions' own timer. In seconds.
MAX_AGE_S = 24 * 3600

#: Nobody is there to answer; files that somebody changed stay as they are.
#: Source: apt-get(8), dpkg(1) --force-confdef/confold, needrestart(1) NEEDRESTART_MODE.
APT_GET = (
    "DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get --yes --quiet"
    " -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
)


#: They fail where apt cannot read its settings, or its preferences. Source: apt-config(8).
READS = "apt-config dump >/dev/null"
PREFERS = "apt-cache policy >/dev/null"
HARM = "remove-packages"
#: Lines of a simulated plan. Source: apt-get(8), --simulate.
REMOVED = """awk '$1 == "Remv" || $1 == "Purg" { printf " %s", $2 }'"""


def get(words: str) -> str:
    """Return a call of apt-get; where it would remove packages, it fails before it does anything.

    Nothing is removed by its name here, so whatever goes is what nobody named.

    Args:
        words: options and what to do, "install nano".
    """
    if allows(HARM):
        return f"{APT_GET} {words}"
    refusal = f"which nobody named: remove them yourself if they may go, {advice(HARM)}"
    return (
        f"{APT_GET} --no-remove {words} || {{ code=$?;"
        f" gone=$(LC_ALL=C.UTF-8 {APT_GET} --simulate {words} 2>/dev/null | {REMOVED});"
        f' [ -z "$gone" ] || echo "apt would remove$gone,"{shlex.quote(f" {refusal}")} >&2;'
        " (exit $code); }"
    )


@operation()
def refresh(max_age_s: int = MAX_AGE_S) -> Generator[str, None, None]:
    """Fetch package lists that are missing, old or do not fit apt's sources.

    Args:
        max_age_s: how old they may be.
    """
    lists = host.get_fact(facts.PackageLists)
    if lists.usable and lists.age_s <= max_age_s:
        host.noop("the package lists are fresh")
        return
    # Without Error-Mode, apt-get succeeds with old lists when a mirror is down.
    # Source: apt-get(8), "APT::Update::Error-Mode".
    # A source of the future, from before the clock was set back, would be newer at every run.
    yield (
        f"{APT_GET} -o APT::Update::Error-Mode=any update"
        f" && mkdir -p {facts.STAMP.rsplit('/', 1)[0]} && touch {facts.STAMP}"
        f" && {facts.SOURCES} -newer {facts.STAMP} -exec touch -r {facts.STAMP} {{}} +"
    )


@operation()
def full_upgrade() -> Generator[str, None, None]:
    """Bring every package to its newest version."""
    plan = host.get_fact(facts.Upgradable)
    if not plan:
        return
    restarts = any(line.split()[:2] == ["Inst", name] for line in plan for name in ENGINES)
    guard = spared() if restarts else ""
    yield f"{guard} && {{ {get('full-upgrade')}; }}" if guard else get("full-upgrade")


@operation()
def install(
    packages: Sequence[str], *, initramfs_later: bool = False, loaded_ahead: bool = False
) -> Generator[str, None, None]:
    """Install what is missing, in one call, without recommended packages.

    Args:
        packages: names; a version is never given here.
        initramfs_later: let the initramfs be made while the next operations run; `settle` waits.
        loaded_ahead: take what `load_ahead` has loaded; what an earlier run has left of it goes.
    """
    installed = host.get_fact(facts.Installed)
    missing = [name for name in packages if name not in installed]
    if not missing:
        if loaded_ahead and host.get_fact(facts.FileExists, path=AHEAD):
            yield FORGET
        return
    yield from refresh._inner(MAX_AGE_S)
    if loaded_ahead:
        yield TAKE
    unpack = "-o DPkg::ConfigurePending=false " if initramfs_later else ""
    yield get(f"{unpack}--no-install-recommends install {shlex.join(sorted(missing))}")
    if initramfs_later:
        yield CONFIGURE


@operation()
def load_ahead(packages: Sequence[str]) -> Generator[str, None, None]:
    """Begin to load packages that `install` will want later in this run, beside what installs now.

    It holds no lock of apt's: what it has read may be old by then, and `install` asks anew. A load
    that fails costs nothing: `install` loads what is missing.

    Args:
        packages: names.
    """
    installed = host.get_fact(facts.Installed)
    missing = [name for name in packages if name not in installed]
    if not missing:
        return
    yield from refresh._inner(MAX_AGE_S)
    load = (
        f"{APT_GET} -o Debug::NoLocking=true -o Dir::Cache::archives={AHEAD} --download-only"
        f" --no-install-recommends install {shlex.join(sorted(missing))}"
    )
    yield f"mkdir -p {AHEAD}/partial && {{ {beside.begin(AHEAD_UNIT, load)}; }} || true"


@operation()
def hold(
    packages: Sequence[str] = (), *, patterns: Sequence[str] = (), but: str = ""
) -> Generator[str, None, None]:
    """Keep packages at the version that is installed, until somebody lets go of them.

    Args:
        packages: names.
        patterns: regular expressions of installed packages, matched from a name's start.
        but: one of those that no pattern counts for.
    """
    installed = host.get_fact(facts.Packages)
    free = loose(installed, packages, patterns=patterns, but=but)
    if free:
        yield f"apt-mark hold {shlex.join(free)}"


@operation()
def held_together(
    patterns: Sequence[str], *, file: str, content: str
) -> Generator[str | StringCommand, None, None]:
    """Hold packages that only make sense with others, or let go of those that this has held.

    The file keeps automatic updates away, and is the note that they are held by this operation:
    what somebody else holds stays held.

    Args:
        patterns: regular expressions of installed packages, matched from a name's start.
        file: of apt's settings.
        content: of the file; "" lets go.
    """
    installed = host.get_fact(facts.Packages)
    if content:
        yield from put_atomic._inner(dest=file, content=content, tried_by=READS)
        if free := loose(installed, (), patterns=patterns, but=""):
            yield f"apt-mark hold {shlex.join(free)}"
    elif host.get_fact(facts.FileExists, path=file):
        held = {name: replace(one, held=False) for name, one in installed.items() if one.held}
        if names := loose(held, (), patterns=patterns, but=""):
            yield f"apt-mark unhold {shlex.join(names)}"
        yield f"rm {file}"


def loose(
    installed: Mapping[str, facts.Package],
    packages: Sequence[str],
    *,
    patterns: Sequence[str],
    but: str,
) -> list[str]:
    """Return what `hold` has yet to hold, sorted."""
    matching = {
        name
        for name in installed
        if any(re.match(pattern, name) for pattern in patterns)
        and not (but and re.match(but, name))
    }
    held = {name for name, package in installed.items() if package.held}
    return sorted({*packages, *matching} - held)
