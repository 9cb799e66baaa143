"""Put a file in place at once and only when it is valid."""

import hashlib
import shlex
from collections.abc import Generator, Mapping
from pathlib import PurePosixPath

from pyinfra import host, logger, state
from pyinfra.api import OperationValueError, StringCommand, operation
from pyinfra.facts.files import FileContents
from pyinfra.operations.util.files import generate_color_diff

from deploy.facts.files import FileState, FileStates, Stat
from deploy.operations import trial


@operation()
def put_atomic(
    dest: str,
    content: str,
    *,
    mode: str = "644",
    user: str = "root",
    group: str = "root",
    validate: str = "",
    read_by: str = "",
    tried_by: str = "",
) -> Generator[StringCommand, None, None]:
    """Write a text file: beside its place, checked, then renamed over it.

    Args:
        dest: absolute path; its folder is made when missing. A link is followed.
        content: the whole file; must end in a newline.
        mode: octal, without a leading zero.
        user: owner.
        group: group.
        validate: a command in which ``%s`` stands for the new file; the old file stays when
            it fails.
        read_by: a unit that reads the file when it starts; the version before is kept until it
            has started with the new one, and comes back when it cannot (see `trial`).
        tried_by: a command that fails where the new file, in its place, is no good; the version
            before comes back then.

    Raises:
        OperationValueError: the content is no text file.
    """
    wanted = described(dest, content, mode=mode, user=user, group=group)
    if host.get_fact(FileState, path=dest) == wanted:
        host.noop(f"{dest} is as wanted")
        return
    reader = trial.read_by_unit(read_by) if read_by else ""
    yield written(dest, content, wanted, validate=validate, reader=reader, tried_by=tried_by)


@operation()
def put_each(
    files: Mapping[str, str], *, mode: str = "644", validate: str = ""
) -> Generator[StringCommand, None, None]:
    """Write text files of root's, each as `put_atomic` does, after one look at all of them.

    Args:
        files: content by absolute path.
        mode: octal, without a leading zero.
        validate: see `put_atomic`.

    Raises:
        OperationValueError: a content is no text file.
    """
    there = host.get_fact(FileStates, paths=tuple(files))
    for dest, content in files.items():
        wanted = described(dest, content, mode=mode, user="root", group="root")
        if there.get(dest) != wanted:
            yield written(dest, content, wanted, validate=validate)


def described(dest: str, content: str, *, mode: str, user: str, group: str) -> Stat:
    """Return what a file shall be.

    Raises:
        OperationValueError: the content is no text file.
    """
    if not content.endswith("\n") or "\0" in content:
        raise OperationValueError(f"{dest}: the content must be text that ends in a newline")
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Stat(mode=mode, user=user, group=group, sha256=digest)


def written(
    dest: str, content: str, wanted: Stat, *, validate: str, reader: str = "", tried_by: str = ""
) -> StringCommand:
    """Return the command that writes a file; show what it changes for --diff."""
    if state.config.DIFF:
        show_diff(dest, content)
    owner = {"mode": wanted.mode, "user": wanted.user, "group": wanted.group}
    script = put_script(dest, **owner, validate=validate, reader=reader, tried_by=tried_by)
    return StringCommand(script, _stdin=content)


def put_script(
    dest: str,
    *,
    mode: str,
    user: str,
    group: str,
    validate: str,
    reader: str = "",
    tried_by: str = "",
) -> str:
    """Return the shell script that reads the new file from its standard input.

    Args:
        dest: absolute path.
        mode: octal; without `user`, a file that is there keeps its mode and its owner.
        user: owner; may be empty.
        group: group.
        validate: see `put_atomic`.
        reader: a command that succeeds where something reads the file at its start.
        tried_by: a command that tries it at once.
    """
    folder = shlex.quote(str(PurePosixPath(dest).parent))
    check = validate.replace("%s", '"$new"') or "true"
    kept = f" && {trial.keep(reader)}" if reader or tried_by else ""
    tried = f" && {trial.attempt(tried_by, [dest])}" if tried_by else ""
    own = f'chown {user}:{group} "$new" && chmod {mode} "$new"'
    if not user:
        same = 'chown --reference="$dest" "$new" && chmod --reference="$dest" "$new"'
        own = f'if [ -e "$dest" ]; then {same}; else chmod {mode} "$new"; fi'
    return (
        f"mkdir -p {folder} && dest=$(readlink -f {shlex.quote(dest)})"
        ' && new=$(mktemp "$dest.XXXXXX") && trap \'rm -f "$new"\' EXIT && cat > "$new"'
        f" && {own} && {check}{kept}"
        f' && mv -f "$new" "$dest"{tried}'
    )


def show_diff(dest: str, content: str) -> None:
    """Show what would change in a file, for --diff."""
    before = host.get_fact(FileContents, path=dest) or []
    logger.info(f"{host.print_prefix}will change {dest}")
    for line in generate_color_diff(
        [f"{line}\n" for line in before], content.splitlines(keepends=True)
    ):
        logger.info(f"    {line}")
