"""Wheels for venvs, loaded into uv's cache beside the operations that come next."""

from collections.abc import Generator, Mapping

from pyinfra import host
from pyinfra.api import StringCommand, operation

from deploy.facts.venv import Locks
from deploy.operations import beside, uv

#: A venv that nobody uses: to fill it is how uv fills its cache. Its files are hardlinks.
SCRATCH = f"{uv.CACHE}/cube-ahead"
#: The unit's program, in a folder of root's own: an index or a proxy may have a login.
PROGRAM = f"{uv.AHEAD}/load"
#: Tries after the first; `uv.locked` has more.
RETRIES = 1


@operation()
def load_ahead(
    venvs: Mapping[str, str], *, folder: str, mib: int, index: str = "", proxy: str = ""
) -> Generator[StringCommand, None, None]:
    """Begin to load what `uv.locked` will want later in this run, beside what comes next.

    It leaves a disk alone that has no room, and needs uv. It does not fail, and a load that fails
    costs nothing: `uv.locked` loads what is missing, and says what is wrong. Of a venv that is
    there, but was made from another lock, most is there already: it is left to `uv.locked`.

    Args:
        venvs: locks by the path of the venv, in the order in which they will be made.
        folder: an existing folder of the file system that they will be on.
        mib: what all of them take, and what else must have room meanwhile, in MiB.
        index: package index; empty for PyPI.
        proxy: proxy URL; empty for none.
    """
    found: dict[str, str] = host.get_fact(Locks, paths=tuple(venvs))
    missing = [lock for path, lock in venvs.items() if path not in found]
    if not missing:
        host.noop("every venv is there")
        return
    room = uv.space_script((*venvs, uv.CACHE), folder=folder, mib=mib)
    for lock in missing:
        file = lock_file(lock)
        yield StringCommand(f"{keep(f'{file}.new')} && mv {file}.new {file} || true", _stdin=lock)
    # One that runs goes on, if it is the same: an index may have been put right since.
    replaced = f"cmp -s {PROGRAM}.new {PROGRAM} || systemctl stop {uv.AHEAD_UNIT} 2>/dev/null"
    begin = (
        f"{{ {replaced} || true; }} && mv {PROGRAM}.new {PROGRAM}"
        f" && {{ {beside.begin(uv.AHEAD_UNIT, f'sh {PROGRAM}')}; }}"
    )
    yield StringCommand(
        f"test -x {uv.UV} || exit 0; ({room}) || exit 0;"
        f" {{ {keep(f'{PROGRAM}.new')} && {begin}; }} || true",
        _stdin=load_script(missing, index=index, proxy=proxy),
    )


def keep(file: str) -> str:
    """Return the command that writes its input to a file that root alone can read."""
    return f"umask 077; mkdir -p {uv.AHEAD} && cat > {file}"


def lock_file(lock: str) -> str:
    """Return where the unit finds a lock; its content is in its name."""
    return f"{uv.loaded_file(lock)}.txt"


def load_script(locks: list[str], *, index: str, proxy: str) -> str:
    """Return the shell script that loads the wheels of locks, one after the other.

    Args:
        locks: requirements files in which every package has its hashes.
        index: as `load_ahead` has it.
        proxy: as `load_ahead` has it.
    """
    lines = [
        "umask 022",
        "renice --priority 10 --pid $$ >/dev/null",
        uv.environment(index, proxy, retries=RETRIES).rstrip(),
        f"rm -f {uv.AHEAD}/*.failed",
    ]
    for lock in locks:
        loaded = uv.loaded_file(lock)
        sync = f"{uv.create(SCRATCH)} && {uv.fill(SCRATCH)} {lock_file(lock)}"
        lines.append(f"test -e {loaded} || {{ {sync} && : > {loaded}; }} || : > {loaded}.failed")
    return "\n".join((*lines, f"rm -rf {SCRATCH}\n"))
