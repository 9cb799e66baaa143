"""Names of accounts: the administrator's, and those that a login on another machine may have."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

#: Every user and group of a bare system; an account brings a group of its own name.
#: Source: Debian's and Ubuntu's base-passwd, passwd.master and group.master.
SYSTEM = """root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc
    gnats _apt nobody adm tty disk kmem dialout fax voice cdrom floppy tape sudo audio dip operator
    src shadow utmp video sasl plugdev staff users nogroup"""
#: Those of what the layers install, and ours that builds. Source: their packages' sysusers.d.
INSTALLED = """cube-build admin docker input kvm messagebus netdev polkitd render sgx sshd syslog
    uuidd"""


def check_user(value: str) -> str:
    """Accept a portable account name that is not the system's.

    Source: useradd(8), "CAVEATS": usernames; 32 characters at most.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", value):
        raise ValueError("an account name has small letters, digits, - and _, 32 at most")
    if value in {*SYSTEM.split(), *INSTALLED.split()} or value.startswith("systemd-"):
        raise ValueError(f"{value} is taken by the system: choose another name")
    return value


User = Annotated[str, AfterValidator(check_user)]
#: On a machine that others set up, a name may have capitals and dots; it is no option of ssh.
Login = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
