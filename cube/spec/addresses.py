"""Names of machines on the network, and URLs."""

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlparse

from pydantic import AfterValidator, Field

#: All that a URL may hold. Source: RFC 3986, 2.
URL_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
#: Source: RFC 1123, 2.1; an underscore is in use too.
HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")


def check_url(value: str) -> str:
    """Accept an http(s) URL or nothing."""
    if value and not is_url(value):
        raise ValueError('write a URL like "http://host:port/", or "" for none')
    return value


def check_package_cache(value: str) -> str:
    """Accept a word, or the URL of a cache that speaks HTTP."""
    if value in ("auto", "off") or (value.startswith("http://") and is_url(value)):
        return value
    raise ValueError('write "auto", "off", or the URL of a cache like "http://host:3142"')


def check_download(value: str) -> str:
    """Accept an http(s) URL, or the file URL of a file of this machine."""
    local = value.startswith("file:///") and URL_CHARACTERS.fullmatch(value)
    if not (local or is_url(value)):
        raise ValueError('write a URL like "https://host/file" or "file:///folder/file"')
    return value


def is_url(value: str) -> bool:
    """Tell whether text is an http(s) URL that names a host."""
    try:
        parts = urlparse(value)
        known = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # of the brackets of an IPv6 address, or the port
        return False
    return bool(known and URL_CHARACTERS.fullmatch(value))


def check_host(value: str) -> str:
    """Accept the name or the address of a machine."""
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        if HOST_NAME.fullmatch(value):
            return value
    raise ValueError('write a host name or an address, like "desk1.example.org" or "192.0.2.10"')


Download = Annotated[str, AfterValidator(check_download)]
PackageCache = Annotated[str, AfterValidator(check_package_cache)]
Url = Annotated[str, AfterValidator(check_url)]
Host = Annotated[str, AfterValidator(check_host)]
Hostname = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
