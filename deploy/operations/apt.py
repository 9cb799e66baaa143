"""Packages, in few calls and without races against apt's own timers."""

import re
import shlex
from collections.abc import Generator, Mapping, Sequence

from pyinfra import host
from pyinfra.api import operation

from deploy.facts import apt as facts

#: A day: as often as the distributions' own timer. In seconds.
MAX_AGE_S = 24 * 3600

#: Nobody is there to answer; files that somebody changed stay as they are.
#: Source: apt-get(8), dpkg(1) --force-confdef/confold, needrestart(1) NEEDRESTART_MODE.
APT_GET = (
    "DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get --yes --quiet"
    " -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
)

#: The package whose trigger takes longest by far, seconds of a processor; nothing in a layer
#: waits for it, and a second processor has nothing else to do.
INITRAMFS = "initramfs-tools"
UNIT = "cube-initramfs.service"
#: Seconds for an initramfs, without KVM too.
INITRAMFS_S = 1800
STATES = f"dpkg-query --show --showformat '{facts.STATES}'"
DPKG = "dpkg --force-confdef --force-confold --no-triggers"
#: Configure what was unpacked and run the triggers, that of the initramfs beside what comes next.
#: dpkg notes what is due: its next run makes good what a crash left undone. With --pending it
#: would run the triggers of packages that need nothing else, in spite of --no-triggers.
#: Source: apt.conf(5), DPkg::ConfigurePending; dpkg(1), --triggers-only.
CONFIGURE = (
    f"{STATES} | sed -nE 's/^(unpacked|half-configured) //p'"
    f" | DEBIAN_FRONTEND=noninteractive xargs -r {DPKG} --configure"
    f" && {STATES} | sed -n 's/^triggers-pending //p' | grep -vx {INITRAMFS}"
    f" | DEBIAN_FRONTEND=noninteractive xargs -r {DPKG} --triggers-only"
    f" && if {STATES} | grep -qx 'triggers-pending {INITRAMFS}'; then"
    f" systemd-run --quiet --collect --unit={UNIT} dpkg --triggers-only {INITRAMFS}; fi"
)

#: Source: the package debian-archive-keyring.
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

TIMERS = "apt-daily.timer apt-daily-upgrade.timer"
SERVICES = "apt-daily.service apt-daily-upgrade.service"
#: For a run of theirs that has begun to end: upgrades of many packages, on a slow line. In seconds.
TIMERS_END_S = 900


@operation()
def hold_timers(until: str) -> Generator[str, None, None]:
    """Keep apt's timers from taking the lock while a host is set up for the first time.

    The mask lives in /run, so that no reboot can leave a host without updates.

    Args:
        until: a file that exists once the timers may run again; then nothing is done.
    """
    if host.get_fact(facts.FileExists, path=until):
        host.noop("apt's timers are set up")
        return
    # A run of theirs that has begun is waited for: to kill dpkg leaves packages half installed.
    yield f"systemctl mask --runtime --now {TIMERS} && {wait_for_services()}"


def wait_for_services(deadline_s: int = TIMERS_END_S) -> str:
    """Build the command that waits until the timers' services do not run.

    While they run they are "activating", never "active": `systemctl is-active` denies it.
    Source: systemd.service(5), Type=oneshot.

    Args:
        deadline_s: seconds until it gives up and says what they do.
    """
    runs = f"systemctl show --property=ActiveState {SERVICES} | grep -q activating"
    return (
        f"{{ timeout {deadline_s} sh -c 'while {runs}; do sleep 1; done' ||"
        f' {{ echo "apt\'s timers: what they started has not ended in {deadline_s} s" >&2;'
        f" systemctl --no-pager --lines=5 status {SERVICES} >&2; exit 1; }}; }}"
    )


@operation()
def release_timers() -> Generator[str, None, None]:
    """Let apt's timers run again."""
    masked = [
        name
        for name in TIMERS.split()
        if host.get_fact(facts.FileExists, path=f"/run/systemd/system/{name}")
    ]
    if masked:
        names = " ".join(masked)
        yield f"systemctl unmask --runtime {names} && systemctl start {names}"


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
    yield (
        f"{APT_GET} -o APT::Update::Error-Mode=any update"
        f" && mkdir -p {facts.STAMP.rsplit('/', 1)[0]} && touch {facts.STAMP}"
    )


@operation()
def full_upgrade() -> Generator[str, None, None]:
    """Bring every package to its newest version."""
    if host.get_fact(facts.Upgradable):
        yield f"{APT_GET} full-upgrade"


@operation()
def install(
    packages: Sequence[str], *, initramfs_later: bool = False
) -> Generator[str, None, None]:
    """Install what is missing, in one call, without recommended packages.

    Args:
        packages: names; a version is never given here.
        initramfs_later: let the initramfs be made while the next operations run; `settle` waits.
    """
    installed = host.get_fact(facts.Installed)
    missing = [name for name in packages if name not in installed]
    if not missing:
        return
    yield from refresh._inner(MAX_AGE_S)
    unpack = " -o DPkg::ConfigurePending=false" if initramfs_later else ""
    yield f"{APT_GET}{unpack} --no-install-recommends install {shlex.join(sorted(missing))}"
    if initramfs_later:
        yield CONFIGURE


@operation()
def settle() -> Generator[str, None, None]:
    """Wait until no trigger of a package is due; what did not run or failed runs here."""
    if not host.get_fact(facts.TriggersDue):
        host.noop("no package's trigger is due")
        return
    waiting = f"while systemctl is-active --quiet {UNIT}; do sleep 0.2; done"
    yield (
        f"timeout {INITRAMFS_S} sh -c '{waiting}' || {{ echo 'the initramfs was not made in"
        f" {INITRAMFS_S} s: systemctl status {UNIT}' >&2; exit 1; }};"
        " DEBIAN_FRONTEND=noninteractive dpkg --triggers-only --pending"
    )


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


@operation()
def mirror(url: str) -> Generator[str, None, None]:
    """Copy apt's sources to cube-build/ with a mirror in the place of their archives.

    Debian's security archive is another archive than the one that is mirrored: it stays.

    Args:
        url: "http://mirror.example/debian/".
    """
    stamp = "/etc/apt/cube-build/mirror"
    if host.get_fact(facts.FirstLine, path=stamp) == url:
        host.noop("the mirror is set")
        return
    edit = rf"/debian-security/! s#https\?://[^ ]*/\(debian\|ubuntu\)/\?#{url.rstrip('/')}/#g"
    yield (
        "mkdir -p /etc/apt/cube-build/sources.list.d && cd /etc/apt"
        " && for file in sources.list sources.list.d/*.list sources.list.d/*.sources; do"
        f' test -e "$file" || continue; sed {shlex.quote(edit)} "$file" > "cube-build/$file"; done'
        f" && echo {shlex.quote(url)} > {stamp}"
    )


@operation()
def components(names: str, *, suites: str, folder: str) -> Generator[str, None, None]:
    """Let the distribution's archive serve more components; its address is the one in use.

    Args:
        names: "contrib non-free".
        suites: "trixie trixie-updates"; the first must be among the sources already.
        folder: of apt's sources, "/etc/apt".
    """
    target, first = f"{folder}/sources.list.d/cube-components.sources", suites.split(maxsplit=1)[0]
    head = f"# {suites}: {names}, beside main"
    if host.get_fact(facts.FirstLine, path=target) == head:
        host.noop(f"{target} has {names}")
        return
    sources = f"-o Dir::Etc::SourceList={folder}/sources.list"
    sources += f" -o Dir::Etc::SourceParts={folder}/sources.list.d"
    # Source: apt-get(8), indextargets; doc/acquire-additional-files.md of apt, its fields.
    yield (
        f"url=$(apt-get indextargets {sources} --format '$(REPO_URI)' 'Created-By: Packages'"
        f" 'Release: {first}' 'Component: main' | head -n 1) && if [ -z \"$url\" ]; then"
        f" echo '{folder}: no source has {first} main: add it' >&2; exit 1; fi"
        " && printf '%s\\n'"
        f" {shlex.quote(head)} 'Types: deb' \"URIs: $url\" 'Suites: {suites}'"
        f" 'Components: {names}' 'Signed-By: {KEYRING}' > {target}.new && mv {target}.new {target}"
    )
