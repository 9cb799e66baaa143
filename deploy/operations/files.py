"""Put a file in place at once and only when it is valid."""

import hashlib
import shlex
from collections.abc import Generator
from pathlib import PurePosixPath

from pyinfra import host, logger, state
from pyinfra.api import OperationValueError, StringCommand, operation
from pyinfra.facts.files import FileContents
from pyinfra.operations.util.files import generate_color_diff

from deploy.facts.files import FileState, Stat


@operation()
def put_atomic(
    dest: str,
    content: str,
    *,
    mode: str = "644",
    user: str = "root",
    group: str = "root",
    validate: str = "",
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

    Raises:
        OperationValueError: the content is no text file.
    """
    if not content.endswith("\n") or "\0" in content:
        raise OperationValueError(f"{dest}: the content must be text that ends in a newline")
    digest = hashlib.sha256(content.encode()).hexdigest()
    wanted = Stat(mode=mode, user=user, group=group, sha256=digest)
    current: Stat | None = host.get_fact(FileState, path=dest)
    if current == wanted:
        host.noop(f"{dest} is as wanted")
        return
    if state.config.DIFF:
        show_diff(dest, content)
    yield StringCommand(
        put_script(dest, mode=mode, user=user, group=group, validate=validate), _stdin=content
    )


def put_script(dest: str, *, mode: str, user: str, group: str, validate: str) -> str:
    """Return the shell script that reads the new file from its standard input."""
    folder = shlex.quote(str(PurePosixPath(dest).parent))
    check = validate.replace("%s", '"$new"') or "true"
    return (
        f"mkdir -p {folder} && dest=$(readlink -f {shlex.quote(dest)})"
        ' && new=$(mktemp "$dest.XXXXXX") && trap \'rm -f "$new"\' EXIT && cat > "$new"'
        f' && chown {user}:{group} "$new" && chmod {mode} "$new" && {check} && mv -f "$new" "$dest"'
    )


def show_diff(dest: str, content: str) -> None:
    """Show what would change in a file, for --diff."""
    before = host.get_fact(FileContents, path=dest) or []
    logger.info(f"{host.print_prefix}will change {dest}")
    for line in generate_color_diff(
        [f"{line}\n" for line in before], content.splitlines(keepends=True)
    ):
        logger.info(f"    {line}")
