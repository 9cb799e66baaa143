"""What belongs to the build: its account, its keys and certificates, its proxy and mirrors."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from cube.runtime.errors import SealError
from cube.seal.cleaning.accounts import remove_account
from cube.seal.cleaning.image import Image
from cube.seal.cleaning.settings import Settings
from cube.seal.cleaning.tree import Tree

CERTIFICATES = "usr/local/share/ca-certificates/cube-build-*.crt"
#: Larger files are not searched: no settings are this long. Bytes.
SEARCHED = 1024 * 1024
#: What people read and daemons obey.
SETTINGS_FOLDERS = ("etc", "root", "home")
STATE_FOLDERS = (*SETTINGS_FOLDERS, "opt", "usr/local", "var/cache", "var/lib")
#: What containers and packages bring is not the build's.
FOREIGN = ("/var/lib/docker/", "/var/lib/containerd/", "/var/lib/dpkg/info/")


def remove_user(image: Image, settings: Settings) -> None:
    """Remove the build's account and everything that is kept for it."""
    tree, user = image.tree, settings.user
    remove_account(tree, user)
    places = (
        "home",
        "var/mail",
        "var/spool/cron/crontabs",
        "var/lib/sudo/lectured",
        "var/lib/AccountsService/users",
        "var/lib/systemd/linger",
        "etc/sudoers.d",
    )
    tree.remove(*(f"{place}/{user}" for place in places), "etc/sudoers.d/90-cloud-init-users")


def remove_trust(image: Image, settings: Settings) -> None:
    """Remove root's keys, the build's settings of apt, and its certificates."""
    tree = image.tree
    tree.remove(
        "root/.ssh",
        "etc/apt/apt.conf.d/90cloud-init-aptproxy",
        "etc/apt/apt.conf.d/90curtin-aptproxy",
    )
    remove_named(tree, "etc", "cube-build")
    if not settings.keep_ca and tree.find(CERTIFICATES):
        tree.remove(CERTIFICATES)
        image.run("update-ca-certificates", "--fresh")


def remove_named(tree: Tree, folder: str, word: str) -> None:
    """Remove every entry below a folder that has a word in its name."""
    for place, folders, names in os.walk(tree.path(folder), topdown=False):
        for name in filter(lambda one: word in one, (*folders, *names)):
            path = Path(place, name)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def restore_updates(image: Image) -> None:
    """Unmask apt's timers, which layer 1 masks so that they do not run during a build."""
    image.tree.remove(
        "etc/systemd/system/apt-daily.timer", "etc/systemd/system/apt-daily-upgrade.timer"
    )


def expect_no_remains(image: Image, settings: Settings) -> None:
    """Search settings and state for what only the build knows.

    Raises:
        SealError: files still mention it; they are named.
    """
    words = [
        re.escape(word) for word in (settings.user, settings.public_key, settings.proxy) if word
    ]
    refuse(search(image.tree, SETTINGS_FOLDERS, words), "the build (its user, key or proxy)")
    found = search(image.tree, STATE_FOLDERS, settings.remains, ignore_case=True)
    refuse(found, "a mirror of the build, or its login")


def refuse(found: Iterable[str], what: str) -> None:
    """Raise when something was found."""
    names = list(found)
    if names:
        raise SealError(
            f"the image still mentions {what}: {names[0]}"
            + (f", and {len(names) - 1} more files" if names[1:] else ""),
            hint="correct the layer that leaves it there",
            details="\n".join(names),
        )


def search(
    tree: Tree, folders: Iterable[str], patterns: Iterable[str], *, ignore_case: bool = False
) -> Iterator[str]:
    """Yield the names of files that match one of the regular expressions."""
    expression = "|".join(f"(?:{pattern})" for pattern in patterns)
    if not expression:
        return
    flags = re.MULTILINE | (re.IGNORECASE if ignore_case else 0)
    wanted = re.compile(expression.encode(), flags)
    for folder in folders:
        for path in tree.files(folder):
            name = tree.name(path)
            if name.startswith(FOREIGN) or path.stat().st_size > SEARCHED:
                continue
            if wanted.search(path.read_bytes()):
                yield name
