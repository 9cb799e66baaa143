"""Single values of the installer's answers: what the installer or the new system refuses."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from cube.baseimage.ubuntu import noble
from cube.config import accounts, addresses, known

#: The installer's operating system, and its installed system's.
OS = "ubuntu-24.04"


def check_account(value: str) -> str:
    """Accept the name of a person's account.

    Source: subiquity, controllers/identity.py: USERNAME_REGEX, USERNAME_MAXLEN and the reserved
    names; to these the users and groups of the image are added.
    """
    if value in noble.reserved_names() or value in known.names(OS, "accounts"):
        raise ValueError(f"{value!r} is reserved for the system")
    if not accounts.USER.fullmatch(value):
        raise ValueError(
            f"{value!r} is not an account name: write small letters, digits, - and _, 32 at most"
        )
    return value


def check_real_name(value: str) -> str:
    """Accept a field of passwd(5); the installer takes any text, and useradd fails later."""
    if not value.isprintable() or ":" in value:
        raise ValueError("a colon or a control character ends the field in /etc/passwd")
    return value


def check_hostname(value: str) -> str:
    """Accept a label of RFC 1123; the installer takes any text."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value):
        raise ValueError(
            f"{value!r} is not a host name: write small letters, digits and -, 63 at most"
        )
    return value


def check_password(value: str) -> str:
    """Accept a hash; the installer would take a password in the clear for one.

    Source: crypt(5), "AVAILABLE HASHING METHODS".
    """
    if not re.fullmatch(r"\$(y|gy|7|2[abxy]|6|5)\$[./A-Za-z0-9$=,+-]+", value):
        raise ValueError("write a hash of crypt(5) like $6$...: other text lets nobody log in")
    return value


def check_timezone(value: str) -> str:
    """Accept a time zone that the installed system has.

    Source: subiquity, controllers/timezone.py: it asks timedatectl, which lists what tzdata has.
    """
    if value in ("", "geoip"):
        raise ValueError("write a time zone: the installer would ask the internet where it is")
    if value not in known.names(OS, "timezones"):
        raise ValueError(f'{value!r} is not a time zone of Ubuntu 24.04: write one like "Etc/UTC"')
    return value


def check_locale(value: str) -> str:
    """Accept a locale that the installed system can make; the installer takes any text."""
    if value not in known.names(OS, "locales"):
        raise ValueError(
            f'{value!r} is not a UTF-8 locale of Ubuntu 24.04: write one like "en_US.UTF-8"'
        )
    return value


def check_netplan_id(value: str) -> str:
    """Accept an id without characters that netplan refuses or escapes.

    Source: tried with netplan 1.1.2: it refuses an empty id, white space, *, ? and what is not
    ASCII, and escapes the rest in the names of its files.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", value):
        raise ValueError(f"{value!r} is not a netplan id: write letters, digits, _, . and -")
    return value


def check_pattern(value: str) -> str:
    """Accept a pattern of interface names."""
    if not re.fullmatch(r"[A-Za-z0-9_.*?\[\]!-]+", value) or not re.search(r"[*?]", value):
        raise ValueError(
            f'{value!r} is not a pattern like "en*": a name would pin the image to one machine'
        )
    return value


def check_keyboard(layout: str, variant: str) -> None:
    """Accept layouts and their variants, as many of these as of those, separated by commas.

    Source: subiquity, models/keyboard.py, validate_setting.

    Raises:
        ValueError: the installer does not know one of them.
    """
    layouts, variants = layout.split(","), variant.split(",")
    if len(layouts) != len(variants):
        raise ValueError(f"{len(layouts)} layouts and {len(variants)} variants: write one for each")
    for one, other in zip(layouts, variants, strict=True):
        if one not in noble.keyboards():
            raise ValueError(
                f'{one!r} is not a keyboard layout of the installer, like "us" or "de"'
            )
        if other not in noble.keyboards()[one]:
            raise ValueError(f"{other!r} is not a variant of the keyboard layout {one!r}")


def check_archive(value: str) -> str:
    """Accept an address that a package archive is served at."""
    if not addresses.is_url(value):
        raise ValueError(
            f"{value!r} is not an http or https URL: the installer's machine reaches nothing else"
        )
    return value


def check_mirror(value: object) -> object:
    """Refuse the word that the installer has for a mirror near by."""
    if value == "country-mirror":
        raise ValueError("name an address: the installer would ask the internet where it is")
    return value


def check_proxy(value: str) -> str:
    """Accept an address that apt and snapd can use as a proxy."""
    if not addresses.is_url(value):
        raise ValueError(f"{value!r} is not an http or https URL: apt and snapd use no other proxy")
    return value


def check_arches(value: list[str]) -> list[str]:
    """Accept what includes the machines of this image."""
    if not {"default", "amd64"}.intersection(value):
        raise ValueError("name default or amd64: curtin would not use the mirror")
    return value


def check_package(value: str) -> str:
    """Accept a package's name; the installer would fail over another after minutes.

    Source: Debian Policy, 5.6.1.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", value):
        raise ValueError(f"{value!r} is not a package name: its installation would fail")
    return value


def check_command(value: object) -> object:
    """Accept a shell command, or the words of a program's call.

    Source: subiquity, controllers/cmdlist.py.
    """
    words = value if isinstance(value, list) else [value]
    texts = [word for word in words if isinstance(word, str)]
    if not texts or len(texts) < len(words):
        raise ValueError("write a command as text, or as a list of words")
    if not texts[0].strip():
        raise ValueError("an empty command does nothing")
    return value


Account = Annotated[str, AfterValidator(check_account)]
RealName = Annotated[str, AfterValidator(check_real_name)]
Hostname = Annotated[str, AfterValidator(check_hostname)]
CryptedPassword = Annotated[str, AfterValidator(check_password)]
Timezone = Annotated[str, AfterValidator(check_timezone)]
Locale = Annotated[str, AfterValidator(check_locale)]
NetplanId = Annotated[str, AfterValidator(check_netplan_id)]
Pattern = Annotated[str, AfterValidator(check_pattern)]
ArchiveUri = Annotated[str, AfterValidator(check_archive)]
NoCountry = BeforeValidator(check_mirror)
ProxyUri = Annotated[str, AfterValidator(check_proxy)]
Arches = Annotated[list[str], AfterValidator(check_arches)]
Package = Annotated[str, AfterValidator(check_package)]
Command = Annotated[object, AfterValidator(check_command)]
