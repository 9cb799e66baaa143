"""User accounts and their keys."""

import shlex
from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import operation

from deploy.facts.system import AccountState, AuthorizedKeys, bare_key

#: Source: passwd(1), --status.
LOCKED = "L"


@operation()
def account(
    user: str, *, groups: Sequence[str], shell: str = "/bin/bash"
) -> Generator[str, None, None]:
    """Make an account without a password, a member of groups; other memberships stay.

    Args:
        user: its name.
        groups: groups besides its own; made when missing.
        shell: login shell.
    """
    found = host.get_fact(AccountState, user=user)
    missing = [name for name in groups if not found or name not in found.groups]
    for name in missing:
        yield f"getent group {name} >/dev/null || groupadd --system {name}"
    if not found:
        yield f"useradd --create-home --shell {shell} --groups {','.join(groups)} {user}"
        return
    if missing:
        yield f"usermod --append --groups {','.join(missing)} {user}"
    if found.shell != shell:
        yield f"usermod --shell {shell} {user}"
    if found.password != LOCKED:
        # Lock first: `passwd -d` would leave an account that anyone may become.
        yield f"usermod --password '!' {user}"


@operation()
def authorized_keys(user: str, keys: Sequence[str]) -> Generator[str, None, None]:
    """Let keys log in. Keys that are there stay as they are: the owner may have restricted them.

    Args:
        user: an account with a home.
        keys: public key lines.
    """
    present = host.get_fact(AuthorizedKeys, user=user)
    missing = [key for key in keys if bare_key(key) not in present]
    if not missing:
        host.noop(f"{user} has every key")
        return
    file = f"~{user}/.ssh/authorized_keys"
    yield (
        f"install -d -m 700 -o {user} -g $(id -gn {user}) ~{user}/.ssh"
        f" && {with_keys(file, missing)} > {file}.new"
        f" && chown {user}:$(id -gn {user}) {file}.new && chmod 600 {file}.new"
        f" && mv -f {file}.new {file}"
    )


def with_keys(file: str, keys: Sequence[str]) -> str:
    """Return the command that prints a file, if it is there, and lines after it.

    sed ends a last line that has no end: a key would become part of its comment.
    """
    lines = " ".join(shlex.quote(key) for key in keys)
    return f"{{ {{ test ! -e {file} || sed '$a\\' {file}; }} && printf '%s\\n' {lines}; }}"
