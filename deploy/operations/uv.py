"""Virtual environments of gigabytes, made by uv from locks, with the files of one in all."""

import hashlib
from collections.abc import Generator, Mapping, Sequence
from pathlib import PurePosixPath
from shlex import quote

from pyinfra import host
from pyinfra.api import StringCommand, operation

from deploy.facts.apt import FileExists
from deploy.facts.venv import LOCK, Locks
from deploy.operations import beside
from deploy.operations.venv import TAKE_SETTINGS, settings, through

#: Of layer 1, role python.
UV = "/opt/cube/tools/bin/uv"
#: On the file system of the venvs: a hardlink cannot leave it.
CACHE = "/opt/cube/cache"
OPTIONS = f"--no-config --no-progress --quiet --no-python-downloads --cache-dir {CACHE}"
#: What Debian and Ubuntu trust, and what was added to it; uv would bring certificates of its own.
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
#: Held while a venv is made: a run that lost its connection may still be at it.
MUTEX = "/run/cube-frameworks.lock"

#: What loads wheels beside other operations, where that notes its progress, and seconds for it:
#: gigabytes on a slow line. See `uv_beside`.
AHEAD_UNIT, AHEAD, AHEAD_S = "cube-wheels.service", "/run/cube-wheels", 3600

#: Seconds to wait for such a run, and for a server that has stopped to send.
MUTEX_S, SILENCE_S = 60, 60
#: Tries after the first, each after a longer pause. Source: uv, "Environment variables":
#: UV_HTTP_RETRIES, 3 by default.
RETRIES = 5

#: Beyond what stays on the disk: a wheel that cannot be unpacked while it comes is kept until it
#: has been, and the largest one of a framework is about as large as this, in MiB.
SPARE_MIB = 1024

#: awk, of two locks: an option for each package whose version is in both with other hashes. uv
#: looks at hashes of what it installs only. Source: uv 0.13.9, `pip sync --require-hashes`.
REHASHED = (
    "FNR == 1 { lock++ } $1 ~ /==/ { package = $1 }"
    ' $1 ~ /^--hash=/ { hashes[lock, package] = hashes[lock, package] " " $1 }'
    " END { for (key in hashes) { split(key, part, SUBSEP); before = hashes[1, part[2]];"
    ' if (part[1] == 2 && before != "" && before != hashes[key])'
    ' { sub(/==.*/, "", part[2]); print "--reinstall-package " part[2] } } }'
)

#: awk: leaves out the hashes that were expected, which may be hundreds of lines.
BRIEF = "/^ *Expected:/ { skip = 1 } /^ *$/ { skip = 0 } !skip"


@operation()
def require_space(venvs: Mapping[str, str], *, folder: str, mib: int) -> Generator[str, None, None]:
    """Refuse to begin a download that the disk has no room for.

    Args:
        venvs: locks by the path of the venv.
        folder: an existing folder of the file system that they will be on.
        mib: what all of them take, in MiB; what is there already is taken off.
    """
    found: dict[str, str] = host.get_fact(Locks, paths=tuple(venvs))
    if not unlike(found, venvs):
        host.noop("every venv is as locked")
        return
    yield space_script((*venvs, CACHE), folder=folder, mib=mib)


def space_script(paths: Sequence[str], *, folder: str, mib: int) -> str:
    """Return the shell script that fails when a folder's disk has no room.

    Args:
        paths: folders that count as there already.
        folder: as `require_space` has it.
        mib: as `require_space` has it.
    """
    there = " ".join(map(quote, paths))
    need = f"{mib} MiB and {SPARE_MIB} MiB to work with"
    return (
        f"there=$(du -cm {there} 2>/dev/null | tail -n 1 | cut -f 1)"
        f" && free=$(df --output=avail -BM {quote(folder)} | tail -n 1 | tr -dc 0-9)"
        f" && missing=$(({mib + SPARE_MIB} - there - free))"
        f' && if [ "$missing" -gt 0 ]; then echo "no space for the frameworks: {need} are needed,'
        f" $there MiB are there already, $free MiB are free in {folder}: $missing MiB are missing;"
        " nothing was downloaded. Enlarge the disk (image.disk_size; on a box, cube-grow-root),"
        ' or take a framework out of stack.frameworks" >&2; exit 1; fi'
    )


@operation()
def locked(
    path: str, requirements: str, *, index: str = "", proxy: str = ""
) -> Generator[StringCommand, None, None]:
    """Make a venv of the distribution's Python that holds exactly what a lock names.

    A whole venv of another lock is changed where the locks differ. One that is not whole is made
    anew: what had been downloaded for it is in the cache, so that costs seconds. What is loaded
    ahead for it is waited for.

    Args:
        path: folder of the venv; its name is the venv's.
        requirements: the lock, a requirements file in which every package has its hashes.
        index: package index; empty for PyPI.
        proxy: proxy URL; empty for none.
    """
    found: dict[str, str] = host.get_fact(Locks, paths=(path,))
    if not unlike(found, {path: requirements}):
        host.noop(f"{path} is as locked")
        return
    script = sync_script(path, whole=path in found)
    if path not in found:
        loaded = loaded_file(requirements)
        over = f"{{ test -e {loaded} || test -e {loaded}.failed; }}"
        script = f"{beside.wait(AHEAD_UNIT, AHEAD_S, unless=over)}; {script}"
    yield StringCommand(script, _stdin=environment(index, proxy) + requirements)


@operation()
def forget_downloads(venvs: Sequence[str]) -> Generator[str, None, None]:
    """Remove the cache once every venv has what it needs: their files stay, as hardlinks do.

    Args:
        venvs: their paths.
    """
    if not host.get_fact(FileExists, path=CACHE):
        host.noop("there is no cache")
        return
    whole = " && ".join(f"test -f {quote(f'{path}/{LOCK}')}" for path in venvs)
    # What a run that broke off began to load may be for a venv that nobody wants any more.
    yield (
        f"{whole} && {{ systemctl stop {AHEAD_UNIT} 2>/dev/null || true; }}"
        f" && rm -rf {CACHE} {AHEAD}"
    )


def unlike(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Return the paths of the venvs that were not made from their locks."""
    return [path for path, lock in wanted.items() if found.get(path) != digest(lock)]


def digest(lock: str) -> str:
    """Return a lock's sha256."""
    return hashlib.sha256(lock.encode()).hexdigest()


def loaded_file(lock: str) -> str:
    """Return the file that says that all wheels of a lock were loaded ahead.

    The same name with ``.failed`` says that they could not be.
    """
    return f"{AHEAD}/{digest(lock)}"


def sync_script(path: str, *, whole: bool) -> str:
    """Return the shell script that makes or changes a venv.

    Its input is the line of `environment`, and the lock.
    """
    venv, lock = quote(path), quote(f"{path}/{LOCK}")
    begin = f"mv {lock} {lock}.old" if whole else f"{create(path)} && : > {lock}.old"
    absent = f"{UV} is missing: apply layer 1 (role python) first"
    busy = f"another run makes these venvs ({MUTEX} is held): let it end, then apply again"
    again = f"$(awk '{REHASHED}' {lock}.old {lock}.new)"
    sync = f"{fill(path)} {again} --strict --compile-bytecode {lock}.new"
    return (
        f"test -x {UV} || {{ echo '{absent}' >&2; exit 1; }}; umask 022; exec 9>{MUTEX};"
        f" flock --wait {MUTEX_S} 9 || {{ echo '{busy}' >&2; exit 1; }};"
        f" {TAKE_SETTINGS} && {begin} && cat > {lock}.new"
        f" && {{ {sync} 2> {venv}/uv.log || {{ awk '{BRIEF}' {venv}/uv.log >&2; exit 1; }}; }}"
        # uv leaves a lock that all may hold. Source: uv, venv creation: `.lock`, mode 666.
        f" && rm -f {venv}/uv.log {venv}/.lock {lock}.old && mv {lock}.new {lock}"
    )


def create(path: str) -> str:
    """Return the command that makes an empty venv, whatever is there."""
    return (
        f"{UV} venv {OPTIONS} --no-managed-python --python /usr/bin/python3 --clear"
        f" --prompt {quote(PurePosixPath(path).name)} {quote(path)}"
    )


def fill(path: str) -> str:
    """Return the command, but for its lock, that has a venv hold just what a lock names.

    Wheels only: what has to be built would run a stranger's program as root.
    """
    return (
        f"{UV} pip sync {OPTIONS} --python {quote(path)} --require-hashes --no-build"
        " --link-mode hardlink"
    )


def environment(index: str, proxy: str, *, retries: int = RETRIES) -> str:
    """Return the line of a shell that sets what uv reads of its environment.

    The index is among it: it may have a login, so this is no part of a command's words.
    """
    return settings(
        {
            "SSL_CERT_FILE": BUNDLE,
            "UV_HTTP_RETRIES": str(retries),
            "UV_HTTP_TIMEOUT": str(SILENCE_S),
            **({"UV_DEFAULT_INDEX": index} if index else {}),
            **through(proxy),
        }
    )
