"""Names and addresses of machines on the network, and URLs."""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field

#: Of the whole name and of each part. Source: RFC 1123, 2.1; an underscore is in use too.
NAME_CHARACTERS = 253
LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
#: A name whose last part is a number is read as an IPv4 address. Source: URL Standard, 3.5.
NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
#: Name of a network interface: shorter than IFNAMSIZ. Source: the kernel's linux/if.h.
INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

#: The parts of a URL. Source: RFC 3986, appendix A; a scope of an IPv6 address is left out.
ESCAPED = r"%(?![01][0-9A-Fa-f]|7[Ff])[0-9A-Fa-f]{2}"
LOGIN = re.compile(rf"(?:[A-Za-z0-9._~!$&'()*+,;=:-]|{ESCAPED})*")
PATH = re.compile(rf"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|{ESCAPED})*)*")
QUERY = re.compile(rf"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|{ESCAPED})*")
PORT = re.compile(r"[0-9]{1,5}")
LAST_PORT = 65535

#: What each kind of URL looks like, for a person who wrote another.
PROXY = "http://proxy:3128"
MIRROR = "https://mirror.example.org/debian"
CACHE = "http://cache:3142"
INDEX = "https://pypi.example.org/simple"
FILE = "https://example.org/file.iso"
LOCAL_FILE = "file:///folder/file.iso"


def check_address(value: str) -> str:
    """Accept an IPv4 address, or an IPv6 one, perhaps with a scope.

    Raises:
        ValueError: it is none, or no single machine's.
    """
    address = ipaddress.ip_address(value)
    scope = getattr(address, "scope_id", None)
    if scope is not None and not INTERFACE.fullmatch(scope):
        raise ValueError("the scope of an IPv6 address names an interface, like fe80::1%eth0")
    if address.is_multicast or address.is_unspecified or str(address) == "255.255.255.255":
        raise ValueError("no machine has this address: write one like 192.0.2.10")
    return str(address)


def is_address(value: str) -> bool:
    """Tell whether text has the form of an address."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def is_name(value: str) -> bool:
    """Tell whether text has the form of a name of a machine, and none of an address."""
    labels = value.removesuffix(".").split(".")
    right = all(LABEL.fullmatch(label) for label in labels)
    return right and len(value) <= NAME_CHARACTERS and not NUMBER.fullmatch(labels[-1])


def check_host(value: str) -> str:
    """Accept the name or the address of a machine.

    Raises:
        ValueError: it is neither.
    """
    if is_address(value):
        return check_address(value)
    if not is_name(value):
        raise ValueError(
            "write a host name or an address alone, like"
            f' "desk1.example.org" or "192.0.2.10"{ascii_name(value)}'
        )
    return value


def ascii_name(value: str) -> str:
    """Say how a name in another script is written; nothing for other texts."""
    try:
        name = value.encode("idna").decode() if not value.isascii() else ""
    except UnicodeError:
        return ""
    return f' (this one is written "{name}")' if name and is_name(name) else ""


def check_hostname(value: str) -> str:
    """Accept a name for the image itself.

    Raises:
        ValueError: it is none.
    """
    if value == "localhost":
        raise ValueError('every machine is localhost: choose another name, like "cube"')
    if not HOSTNAME.fullmatch(value):
        raise ValueError(
            'write small letters, digits and -, 63 at most, without a dot, like "cube"'
        )
    return value


def check_url(value: str, example: str, *, query: bool = False) -> None:
    """Accept an http(s) URL.

    Args:
        value: the text.
        example: a URL of this kind.
        query: whether it may have one.

    Raises:
        ValueError: it is none; what is wrong, and the example.
    """
    scheme, found, rest = value.partition("://")
    if not found or scheme not in {"http", "https"}:
        raise ValueError(f'begin it with http:// or https://, like "{example}"')
    place, mark, asked = rest.partition("?")
    authority, slash, path = place.partition("/")
    login, _, host = authority.rpartition("@")
    if not LOGIN.fullmatch(login) or "@" in slash + path:
        raise ValueError(
            "in a user name or a password write @ as %40, / as %2F, : as %3A, % as %25 and a blank"
            ' as %20, like "p%40ss"'
        )
    check_authority(host, example)
    if not PATH.fullmatch(slash + path) or not QUERY.fullmatch(asked):
        raise ValueError(
            f'a URL has no blanks, quotes, # or letters with accents, like "{example}"'
        )
    if mark and not query:
        raise ValueError(f'end it before the question mark, like "{example}"')


def is_url(value: str) -> bool:
    """Tell whether text is an http(s) URL that names a host."""
    try:
        check_url(value, MIRROR, query=True)
    except ValueError:
        return False
    return True


def check_authority(text: str, example: str) -> None:
    """Accept a host, perhaps with its port.

    Raises:
        ValueError: it is none.
    """
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::(.*))?", text)
    host, colon, port = text.partition(":")
    if bracketed:
        host, port, colon = (
            bracketed[1],
            bracketed[2] or "",
            ":" if bracketed[2] is not None else "",
        )
    right = is_address(host) and ":" in host if bracketed else (is_address(host) or is_name(host))
    if not right:
        raise ValueError(f'name a host after the //, like "{example}"')
    if colon and not (PORT.fullmatch(port) and 0 < int(port) <= LAST_PORT):
        raise ValueError(f'write a port from 1 to {LAST_PORT} after the colon, like "{PROXY}"')


def check_proxy(value: str) -> str:
    """Accept the URL of a proxy, or nothing.

    Raises:
        ValueError: it is none.
    """
    if value:
        check_url(value, PROXY)
        if value.partition("://")[2].partition("/")[2]:
            raise ValueError(f'a proxy has no path: end it after the port, like "{PROXY}"')
    return value


def check_mirror(value: str) -> str:
    """Accept the URL of a repository, or nothing."""
    if value:
        check_url(value, MIRROR)
    return value


def check_index(value: str) -> str:
    """Accept the URL of an index of Python packages, or nothing."""
    if value:
        check_url(value, INDEX)
    return value


def check_package_cache(value: str) -> str:
    """Accept a word, or the URL of a cache that speaks HTTP.

    Raises:
        ValueError: it is neither.
    """
    if value in {"auto", "off"}:
        return value
    if not value.startswith("http://"):
        raise ValueError(f'write "auto", "off", or the URL of a cache, like "{CACHE}"')
    check_url(value, CACHE)
    return value


def check_download(value: str) -> str:
    """Accept an http(s) URL, or the file URL of a file of this machine.

    Raises:
        ValueError: it is neither.
    """
    if value.startswith("file:///"):
        if not PATH.fullmatch(value.removeprefix("file://")):
            raise ValueError(f'write a blank as %20 and % as %25, like "{LOCAL_FILE}"')
        return value
    if "://" not in value:
        raise ValueError(f'write a URL, like "{FILE}" or "{LOCAL_FILE}"')
    check_url(value, FILE, query=True)
    return value


#: Where libvirt's QEMU driver may be. Source: libvirt, "Connection URIs".
LIBVIRT = re.compile(
    r"qemu(\+(unix|ssh|libssh2?|tcp|tls))?://([A-Za-z0-9._@:\[\]-]*)/(system|session|embed)"
    r"(\?[A-Za-z0-9._~/=&%+-]*)?"
)


def check_libvirt_uri(value: str) -> str:
    """Accept the URI of a QEMU driver of libvirt; whether it answers is tried by the gate.

    Raises:
        ValueError: it is none.
    """
    if not LIBVIRT.fullmatch(value):
        raise ValueError('write the URI of a QEMU driver, like "qemu:///embed" or "qemu:///system"')
    return value


LibvirtUri = Annotated[str, AfterValidator(check_libvirt_uri)]
Download = Annotated[str, AfterValidator(check_download), Field(examples=[FILE])]
PackageCache = Annotated[str, AfterValidator(check_package_cache), Field(examples=[CACHE])]
Proxy = Annotated[str, AfterValidator(check_proxy), Field(examples=[PROXY])]
Mirror = Annotated[str, AfterValidator(check_mirror), Field(examples=[MIRROR])]
Index = Annotated[str, AfterValidator(check_index), Field(examples=[INDEX])]
Host = Annotated[str, AfterValidator(check_host)]
Hostname = Annotated[str, AfterValidator(check_hostname)]
