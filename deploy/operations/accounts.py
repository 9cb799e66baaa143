"""User accounts and their keys."""

import shlex
from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import operation

from deploy.facts.logins import AuthorizedKeys, LoginKeys, bare_key
from deploy.facts.system import AccountState

#: Source: passwd(1), --status.
LOCKED = "L"
#: Why an account gets no key.
NO_FILE = (
    "sshd reads no file of keys for this account (AuthorizedKeysFile none), so the keys of"
    " cube.toml would let nobody in: change that setting, or take admin.ssh_keys out"
)


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
    present: LoginKeys = host.get_fact(AuthorizedKeys, user=user)
    missing = [key for key in keys if bare_key(key) not in present.keys]
    if not missing:
        host.noop(f"{user} has every key")
    elif present.known and not present.files:
        yield f"echo {shlex.quote(f'{user}: {NO_FILE}')} >&2; exit 1"
    else:
        file = present.files[0] if present.files else ""
        yield add_keys(user, file, missing)


def add_keys(user: str, file: str, keys: Sequence[str]) -> str:
    """Return the command that adds lines to the file of an account's keys.

    Args:
        user: the account.
        file: absolute, or "" for the usual one in its home. One outside belongs to root, as who
            puts it there means it to; sshd reads it with the rights of the account.
        keys: public key lines.
    """
    name = shlex.quote(file) if file else f"~{user}/.ssh/authorized_keys"
    more = with_keys('"$file"', keys)
    return (
        f"{{ file={name}; new=$file.new; home=$(echo ~{user}); group=$(id -gn {user});"
        f' case $file in "$home"/*) owner={user}:$group; mode=600;'
        f' install -d -m 700 -o {user} -g "$group" "${{file%/*}}" ;;'
        ' *) owner=root:root; mode=644; mkdir -p "${file%/*}" ;; esac; }'
        ' && if test -e "$file"; then cp -p "$file" "$new"; else : >"$new"'
        ' && chown "$owner" "$new" && chmod "$mode" "$new"; fi'
        f' && {more} >"$new" && mv -f "$new" "$file"'
    )


def with_keys(file: str, keys: Sequence[str]) -> str:
    """Return the command that prints a file, if it is there, and lines after it.

    sed ends a last line that has no end: a key would become part of its comment.
    """
    lines = " ".join(shlex.quote(key) for key in keys)
    return f"{{ {{ test ! -e {file} || sed '$a\\' {file}; }} && printf '%s\\n' {lines}; }}"
