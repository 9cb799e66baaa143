"""Nobody who built the image can get into it, and nobody can with a password."""

import pytest

from checks.hygiene.tree import Tree
from cube.config import Spec
from cube.machines import BUILD_USER


def shadow_passwords(image: Tree) -> dict[str, str]:
    """Return the password field of each account. Source: shadow(5)."""
    fields = [line.split(":") for line in image.lines("etc/shadow")]
    return {row[0]: row[1] for row in fields}


@pytest.mark.parametrize(
    "path",
    ["etc/passwd", "etc/shadow", "etc/group", "etc/gshadow", "etc/subuid", "etc/subgid"],
)
def test_build_user_is_not_in_the_account_file(image: Tree, path: str) -> None:
    assert [line for line in image.lines(path) if BUILD_USER in line] == []


def test_build_user_has_no_files(image: Tree) -> None:
    left = image.find(
        f"home/{BUILD_USER}",
        f"var/mail/{BUILD_USER}",
        f"var/spool/cron/crontabs/{BUILD_USER}",
        f"var/lib/systemd/linger/{BUILD_USER}",
    )
    assert left == []


def test_build_user_is_in_no_sudo_rule(image: Tree) -> None:
    rules = ["etc/sudoers", *image.files("etc/sudoers.d/*")]
    assert [name for name in rules if BUILD_USER in image.text(name)] == []


def test_passwords_are_recorded(image: Tree) -> None:
    # Without this, an unreadable shadow file would look like one without passwords.
    assert "root" in shadow_passwords(image), "read the image as root"


def test_no_account_has_an_empty_password(image: Tree) -> None:
    # Either file is enough to log in without one. Source: passwd(5), "Password field".
    rows = [line.split(":") for line in image.lines("etc/passwd") + image.lines("etc/shadow")]
    assert [row[0] for row in rows if not row[1]] == []


def test_every_password_is_locked(image: Tree) -> None:
    passwords = shadow_passwords(image).items()
    assert [user for user, word in passwords if word and word[0] not in "!*"] == []


def test_admin_account_exists(image: Tree, spec: Spec) -> None:
    users = [line.split(":")[0] for line in image.lines("etc/passwd")]
    assert spec.admin.user in users


def test_the_administrator_is_the_first_of_the_people(image: Tree, spec: Spec) -> None:
    # Source: login.defs(5), UID_MIN.
    rows = [line.split(":") for line in image.lines("etc/passwd")]
    assert {tuple(row[2:4]) for row in rows if row[0] == spec.admin.user} <= {("1000", "1000")}


def test_only_keys_of_the_specification_are_authorized(image: Tree, spec: Spec) -> None:
    allowed = {key.split()[1] for key in spec.admin.ssh_keys}
    files = image.files("root/.ssh/authorized_keys*", "home/*/.ssh/authorized_keys*")
    files += image.files("etc/ssh/authorized_keys*/**")
    foreign = [
        name for name in files if any(not allowed & set(line.split()) for line in image.lines(name))
    ]
    assert foreign == []


def test_private_keys_and_known_hosts_are_absent(image: Tree) -> None:
    assert (
        image.find(
            "root/.ssh/id_*",
            "home/*/.ssh/id_*",
            "home/*/.ssh/known_hosts*",
            "root/.ssh/known_hosts*",
        )
        == []
    )
