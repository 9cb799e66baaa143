"""Logins in URLs: no log and no message has them."""

import json
import shlex
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cube import config
from cube.runtime import log, redact
from cube.runtime.errors import CommandError, CubeError
from deploy.runner import redact as layers
from deploy.runner.redact import _known


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
def test_a_login_is_masked_and_nothing_else(text: str, wanted: str) -> None:
    assert redact.masked(text) == wanted


def test_a_long_text_takes_no_long_time() -> None:
    text = "https://" + "a:" * 500_000
    assert redact.masked(text) == text


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


#: Characters that end a login for one parser or another, and letters that end none.
ODD = st.text(st.sampled_from("ab/@:%?#&=+ \\'\"[]é€😀\u202e\t"), max_size=12)
NAMES = st.one_of(st.just(""), ODD)
BOUNDED = settings(max_examples=300, deadline=10_000, derandomize=True)


def secret_of(name: str, word: str) -> str:
    """Return a password that nothing else in a text can be."""
    return f"S3cr{word}et7"


@pytest.fixture(autouse=True)
def _forget() -> None:
    _known.clear()


def refused(text: str) -> CubeError:
    """Return what is told of a value of cube.toml that is refused."""
    toml = json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
    with pytest.raises(CubeError) as caught:
        config.load_text(f"[network]\nproxy = {toml}\n[bogus]\nurl = {toml}", Path("/x/cube.toml"))
    return caught.value


def shows(text: str, secret: str) -> bool:
    """Tell whether a text shows a secret, or the parts of it that are long enough to tell."""
    return "S3cr" in text or "et7" in text or secret in text


@BOUNDED
@given(
    scheme=st.sampled_from(["http://", "https://", "", "http:/", "http:", "ftp://", "HTTP://"]),
    name=NAMES,
    word=ODD,
)
def test_no_message_about_cube_toml_has_a_password(scheme: str, name: str, word: str) -> None:
    secret = secret_of(name, word)
    for text in (f"{scheme}{name}:{secret}@proxy.example:3128", f"{scheme}u:{secret}%40proxy:3128"):
        error = refused(text)
        told = "\n".join([error.message, error.hint, error.details, str(error)])
        assert not shows(told, secret)


@BOUNDED
@given(name=NAMES, word=ODD)
def test_no_output_has_a_password_of_cube_toml(name: str, word: str) -> None:
    secret = secret_of(name, word)
    _known.clear()
    url = f"http://{name}:{secret}@proxy.example:3128"
    refused(url)
    heard: list[log.Event] = []
    said = [
        url,
        repr(url),
        json.dumps(url),
        shlex.quote(url),
        quote(url),
        unquote(url),
        f"cannot open {url}: refused",
        str(Path("/folder") / url),
    ]
    with log.listening(heard.append):
        for text in said:
            log.warning(text, url=text, inner={"list": [text, (text,)], text: 1})
            log.debug(f"$ program --proxy={text} x")
    told = [f"{event.text} {event.data}" for event in heard]
    for text in said:
        error = CommandError(text, hint=text, output=text)
        told += [error.message, error.hint, error.details, str(error)]
    assert not [text for text in told if shows(text, secret)]


@BOUNDED
@given(name=NAMES, word=st.text(st.sampled_from("ab/@:%?#&=+\\[]é€😀"), max_size=12))
def test_no_url_of_somebody_else_shows_a_password(name: str, word: str) -> None:
    secret = secret_of(name, word)
    name = "".join(name.split()).strip("/@:'\"") or "u"
    for text in (f"http://{name}:{secret}@host.example/x", f"see ssh://u:{secret}@h/ and more"):
        assert not shows(redact.masked(text), secret)


def test_an_image_named_by_its_digest_is_no_login() -> None:
    name = f"127.0.0.1:5000/cuda@sha256:{64 * '0'}"
    redact.remember_all({"stack": {"images": [name]}})
    told = f"{name}: cannot be pulled"
    assert redact.masked(told) == told
    assert redact.masked_value(name) == name


@pytest.mark.parametrize(
    "key",
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nc2VjcmV0\n-----END PGP PRIVATE KEY BLOCK-----",
        "PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\nc2VjcmV0",
    ],
)
def test_no_text_has_a_private_key(key: str) -> None:
    assert "c2VjcmV0" not in redact.masked(f"the file holds {key}")
    assert "c2VjcmV0" not in redact.masked_value(key)
    for line in (f"[admin]\nssh_keys = ['''{key}''']", f"[image]\nname = '''{key}'''"):
        with pytest.raises(CubeError) as caught:
            config.load_text(line, Path("/x/cube.toml"))
        assert "c2VjcmV0" not in caught.value.message


def test_data_keeps_its_shape() -> None:
    data = {"a": ["http://u:p@h/", ("x",)], "b": 1, "c": None, "d": {"e": True}}
    assert redact.masked_data(data) == {**data, "a": ["http://***@h/", ("x",)]}


@pytest.mark.parametrize("text", ["https://a," * 20_000, "https://a:x," * 20_000, "://" * 50_000])
def test_many_urls_take_no_long_time(text: str) -> None:
    assert redact.masked(text) == text


def test_our_programs_mask_as_layers_do() -> None:
    assert {name: getattr(redact, name) for name in redact.__all__} == {
        name: getattr(layers, name) for name in redact.__all__
    }
