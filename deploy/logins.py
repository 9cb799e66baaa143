"""Logins in URLs: nothing that is told has them.

The same as `cube.logins`: a layer imports nothing that its key does not cover.
"""

import re

#: The login of an http(s) URL, whose name alone may be a token; of any other URL the password.
LOGIN = re.compile(r"(https?://)[^\s/]+(?=@)|(://[^\s/@:]*:)[^\s/]+(?=@)")


def masked(text: str) -> str:
    """Return a text with ``***`` in the place of every login that is in a URL."""
    return LOGIN.sub(lambda found: f"{found[1] or found[2]}***", text)
