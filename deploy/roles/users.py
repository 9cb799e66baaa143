"""Role users: the administrator."""

from dataclasses import dataclass

from pyinfra.api import deploy

from deploy.operations import accounts
from deploy.operations.files import put_atomic
from deploy.runner.data import read
from deploy.runner.sources import template_text

#: Read the logs, administer, use GPUs without being root.
GROUPS = ("adm", "sudo", "systemd-journal", "video", "render")


@dataclass(frozen=True, kw_only=True)
class Users:
    """What the role reads."""

    admin_user: str
    admin_ssh_keys: tuple[str, ...] = ()


@deploy("Users")
def users() -> None:
    """Make the administrator: keys, no password, all rights."""
    data = read(Users)
    accounts.account(
        name=f"Make the administrator {data.admin_user}, password locked",
        user=data.admin_user,
        groups=GROUPS,
    )
    accounts.authorized_keys(
        name="Let the administrator's keys log in",
        user=data.admin_user,
        keys=data.admin_ssh_keys,
    )
    put_atomic(
        name="Let the administrator use sudo",
        dest="/etc/sudoers.d/50-cube-admin",
        content=template_text("users/sudoers.j2", data),
        mode="440",
        validate="visudo -q -c -f %s",
    )
