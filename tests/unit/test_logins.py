"""Logins in URLs: no log and no message has them."""

from collections.abc import Callable

import pytest

from cube import log, logins
from cube.errors import CommandError
from deploy import logins as layers

MASKS = pytest.mark.parametrize("masked", [logins.masked, layers.masked])


@MASKS
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ""),
        ("https://i.example/s", "https://i.example/s"),
        ("https://me:secret@i.example/s", "https://***@i.example/s"),
        ("https://token@i.example/s", "https://***@i.example/s"),
        ("http://me:se@cret@i.example", "http://***@i.example"),
        ("a='http://me:se'\"'\"'cret@i.example:8/' b", "a='http://***@i.example:8/' b"),
        ("http://a:x@h/ and http://b:y@h/", "http://***@h/ and http://***@h/"),
        ("socks5://me:secret@p.example:1080", "socks5://me:***@p.example:1080"),
        ("qemu+ssh://root@host/system", "qemu+ssh://root@host/system"),
        ("https://i.example/s ada@example", "https://i.example/s ada@example"),
        ("http://r.example/cuda@sha256:01", "http://r.example/cuda@sha256:01"),
        ("http://i.example:80\nme@host", "http://i.example:80\nme@host"),
    ],
)
def test_a_login_is_masked_and_nothing_else(
    text: str, wanted: str, masked: Callable[[str], str]
) -> None:
    assert masked(text) == wanted


@MASKS
def test_a_long_text_takes_no_long_time(masked: Callable[[str], str]) -> None:
    text = "https://" + "a:" * 500_000
    assert masked(text) == text


def test_no_log_has_a_login() -> None:
    heard: list[log.Event] = []
    with log.listening(heard.append):
        log.debug("$ program https://me:secret@i.example/s")
        with log.step("Asking https://me:secret@i.example/s"):
            log.warning("https://me:secret@i.example/s: no answer")
    assert len(heard) == 4
    assert all("https://***@i.example/s" in event.text for event in heard)


def test_no_error_has_a_login() -> None:
    error = CommandError("https://me:secret@i.example: gone", output="http://me:secret@p.example")
    assert (error.message, str(error)) == ("https://***@i.example: gone",) * 2
    assert error.details == "http://***@p.example"
