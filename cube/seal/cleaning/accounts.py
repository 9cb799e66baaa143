"""Remove an account from the account files, as userdel does."""

from collections.abc import Callable
from functools import partial

from cube.seal.cleaning.tree import Tree

#: Files with one line an account, its name first. Source: passwd(5), shadow(5), subuid(5).
BY_NAME = ("etc/passwd", "etc/shadow", "etc/subuid", "etc/subgid")
#: Files with one line a group, and the fields that list accounts. Source: group(5), gshadow(5).
GROUPS = {"etc/group": (3,), "etc/gshadow": (2, 3)}

Edit = Callable[[list[str]], list[str] | None]


def remove_account(tree: Tree, user: str) -> None:
    """Remove an account, its own group, and its name from other groups."""
    own = own_group(tree, user)
    for name in BY_NAME:
        edit(tree, name, lambda fields: None if fields[0] == user else fields)
    for name, lists in GROUPS.items():
        edit(tree, name, partial(without_member, user=user, own=own, lists=lists))


def own_group(tree: Tree, user: str) -> str:
    """Return the name of an account's own group; "" when it shares its group.

    Source: userdel(8): a group of the account's name goes when no other account is in it.
    """
    users = [line.split(":") for line in tree.read("etc/passwd").splitlines()]
    groups = [line.split(":") for line in tree.read("etc/group").splitlines()]
    for group in groups:
        if group[0] == user:
            members = {name for name in group[3].split(",") if name}
            members |= {row[0] for row in users if row[3] == group[2]}
            return user if members <= {user} else ""
    return ""


def without_member(
    fields: list[str], *, user: str, own: str, lists: tuple[int, ...]
) -> list[str] | None:
    """Return a group without an account; None when it is the account's own group."""
    if fields[0] == own:
        return None
    for index in lists:
        fields[index] = ",".join(name for name in fields[index].split(",") if name != user)
    return fields


def edit(tree: Tree, name: str, change: Edit) -> None:
    """Rewrite the lines of an account file in place: its owner and mode stay."""
    before = tree.read(name)
    rows = [change(line.split(":")) if line else [line] for line in before.splitlines()]
    after = "".join(":".join(row) + "\n" for row in rows if row is not None)
    if after != before:
        tree.write(name, after)
