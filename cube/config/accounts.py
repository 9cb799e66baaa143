"""Names of accounts: the administrator's, and those that a login on another machine may have."""

import re
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from cube.config import known

#: Ours that builds: it is removed when an image is sealed.
BUILDER = "cube-build"
#: Source: useradd(8), "CAVEATS": 32 characters at most.
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
#: On a machine that others set up, a name may have capitals and dots; it is no option of ssh.
LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


def check_user(value: str, info: ValidationInfo) -> str:
    """Accept a portable account name that is not one of the image's accounts or groups.

    An account brings a group of its own name.

    Raises:
        ValueError: it is none.
    """
    if not USER.fullmatch(value):
        raise ValueError(
            'write small letters, digits, - and _, 32 at most, a letter first, like "cube"'
        )
    taken = known.names(image_os(info), "accounts")
    if value in {*taken, BUILDER} or value.startswith("systemd-"):
        raise ValueError(
            f'{value} is taken by the system: choose another name, like "{other_name(value)}"'
        )
    return value


def other_name(value: str) -> str:
    """Return a name that is free."""
    return "cube" if value.startswith(("_", "systemd-")) else f"{value[:28]}-me"


def check_login(value: str) -> str:
    """Accept the name of an account elsewhere.

    Raises:
        ValueError: it is none.
    """
    if not LOGIN.fullmatch(value):
        raise ValueError('write letters, digits, ., - and _, 64 at most, like "cube"')
    return value


def image_os(info: ValidationInfo) -> str:
    """Return the operating system by which a value is judged."""
    chosen: str = (info.context or {}).get("os", "debian-13")
    return chosen


User = Annotated[str, AfterValidator(check_user)]
Login = Annotated[str, AfterValidator(check_login)]
