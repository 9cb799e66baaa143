"""Logins in URLs, and private keys: no output has them.

The only place that masks, for layers and for our programs (`cube.runtime.redact`). A text is masked
before anybody takes it apart: what an odd login (one with a slash, a blank or a second @) looks
like depends on who parses it.
"""

import json
import re
import shlex
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit, urlunsplit

MASK = "***"
#: The beginning of an absolute URL, or what is left of one. Source: RFC 3986, 3.1
URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]{0,30})?://")
WORD = re.compile(r"\S*")
#: A host with or without a port, or what is masked already: surely no login.
HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%\w]*\]|[\w.~%-]*|\*{3})(?::[0-9]*)?")
#: What may stand behind a host in a sentence.
BEHIND = "\"'`),.;:>]}|\\"
#: Schemes whose login may be a token: without a colon it is secret, too.
TOKENS = ("http://", "https://", "://")
#: So far the end of a login is looked for.
AHEAD = 2000
#: A private key in one of its text forms, whole or cut off. Source: RFC 7468; PuTTY, appendix C.
PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
    r"|PuTTY-User-Key-File-[0-9].*",
    re.DOTALL,
)
PRIVATE_MASK = "(a private key)"
#: What a person may take for an @, and how a URL escapes one.
AT = re.compile("@|%40|\N{FULLWIDTH COMMERCIAL AT}|\N{SMALL COMMERCIAL AT}")
#: The end of an image that is named by its digest: "registry:5000/name@sha256:..." is no login.
#: Source: opencontainers/image-spec, descriptor.md, "Digests"
DIGEST = re.compile(r"@[a-z0-9]+(?:[+._-][a-z0-9]+)*:[A-Fa-f0-9]{32,}\s*")
#: A value that begins like a URL, however it is written.
SCHEME = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.-]*:[/\\]+|(?:https?|socks[45]?h?|ftp|ssh):)")

#: A login in apt's own list of logins. Source: apt_auth.conf(5).
AUTH = re.compile(r"(machine \S+ login )\S+( password \S+)?")

#: Every way in which a login that is known may be written, each with its @; the longest first.
_known: list[str] = []


def masked(text: str) -> str:
    """Return a text with ``***`` in the place of every login that is in a URL.

    Of a URL that is no http(s) URL, the name is shown and the password is not.
    """
    for login in _known:
        text = text.replace(login, f"{MASK}@")
    parts, at = list[str](), 0
    while scheme := URL.search(text, at):
        login = login_at(text, scheme.end())
        parts += text[at : scheme.end()], shown_login(scheme[0], login)
        at = scheme.end() + len(login)
    text = AUTH.sub(lambda found: f"{found[1]}{MASK}", "".join([*parts, text[at:]]))
    return PRIVATE_KEY.sub(PRIVATE_MASK, text)


def login_at(text: str, start: int) -> str:
    """Return the login that begins behind a scheme; empty when there is none.

    Only a host with its port is surely none. So a password may have slashes and blanks: it ends
    with the last @ of its word, else with the last one of its line.
    """
    found = WORD.match(text, start, start + AHEAD)
    word = found[0] if found else ""
    login, at, _ = word.rpartition("@")
    host = HOST.fullmatch(word.split("/", 1)[0].rstrip(BEHIND))
    if at:
        return "" if host and ":" not in login else login
    if host:
        return ""
    line = text[start : start + AHEAD].split("\n", 1)[0]
    return line.rpartition("@")[0]


def shown_login(scheme: str, login: str) -> str:
    """Return what of a login may be seen."""
    if not login or MASK in login or scheme.lower() in TOKENS:
        return MASK if login else ""
    name, colon, _ = login.partition(":")
    return f"{name}:{MASK}" if colon else login


def masked_value(text: str) -> str:
    """Return one value of cube.toml, or a word of the command line, without what may be a login.

    It may be no URL at all. Where it might hold a login, only its scheme is left: which part of
    it would be the host is anybody's guess.
    """
    text = PRIVATE_KEY.sub(PRIVATE_MASK, text)
    found = SCHEME.match(text)
    scheme, rest = (found[0], text[found.end() :]) if found else ("", text)
    authority = re.split(r"[/?#\s\\]", rest, maxsplit=1)[0]
    if found and not HOST.fullmatch(authority):
        return f"{scheme}{MASK}"
    at = AT.search(rest)
    if at and not found and DIGEST.fullmatch(rest, at.start()):
        return text
    return f"{scheme}{MASK}" if at and (found or ":" in rest[: at.start()]) else text


def masked_data(value: Any) -> Any:  # noqa: ANN401 (whatever JSON can hold)
    """Return JSON-like data with every text of it masked, the keys of objects included."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {masked_data(key): masked_data(item) for key, item in value.items()}
    if isinstance(value, list):
        return [masked_data(item) for item in value]
    return tuple(map(masked_data, value)) if isinstance(value, tuple) else value


def remember(text: str) -> None:
    """Learn the login in a value of cube.toml: from now on it is masked before any @.

    It is known as it is, quoted, escaped and decoded.
    """
    found = SCHEME.match(text)
    login, at, host = (text[found.end() :] if found else text).rpartition("@")
    if not found and DIGEST.fullmatch(at + host):
        return
    token = found is not None and found[0].lower() in TOKENS
    if not login or not (":" in login or token):
        return
    in_path = str(PurePosixPath(f"/{login}"))[1:]  # one slash where the URL has two
    forms = {login, unquote(login), quote(login), quote(login, safe=""), in_path}
    written_forms = {
        f"{written}{at}"
        for form in forms
        for written in (form, repr(form)[1:-1], json.dumps(form)[1:-1], shlex.quote(form)[1:-1])
        for at in ("@", "%40")
        if len(written) > 1
    }
    _known[:] = sorted({*_known, *written_forms}, key=len, reverse=True)


def remember_all(data: Any) -> None:  # noqa: ANN401 (whatever TOML can hold)
    """Learn the logins in all texts of TOML data."""
    todo = [data]
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            remember(value)
        elif isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, list | tuple):
            todo += value


class Parted(NamedTuple):
    """A URL without its login, and the login as a server wants it."""

    url: str
    user: str
    password: str


def parted(url: str) -> Parted:
    """Part a URL and its login, which is percent-encoded in a URL and nowhere else."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    bare = urlunsplit(parts._replace(netloc=host))
    return Parted(bare, unquote(parts.username or ""), unquote(parts.password or ""))
