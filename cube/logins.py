"""Logins in URLs: no log and no message has them."""

import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

#: The login of an http(s) URL, whose name alone may be a token; of any other URL the password;
#: that of a line of apt's auth.conf.
LOGIN = re.compile(
    r"(https?://)[^\s/]+(?=@)|(://[^\s/@:]*:)[^\s/]+(?=@)|(machine \S+ login )\S+( password \S+)?"
)


class Parted(NamedTuple):
    """A URL without its login, and the login as a server wants it."""

    url: str
    user: str
    password: str


def masked(text: str) -> str:
    """Return a text with ``***`` in the place of every login that is in a URL."""
    return LOGIN.sub(lambda found: f"{found[1] or found[2] or found[3]}***", text)


def parted(url: str) -> Parted:
    """Part a URL and its login, which is percent-encoded in a URL and nowhere else."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    bare = urlunsplit(parts._replace(netloc=host))
    return Parted(bare, unquote(parts.username or ""), unquote(parts.password or ""))
