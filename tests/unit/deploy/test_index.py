"""An index or a proxy with a login: whom it reaches, and that no command's words have it."""

import subprocess
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pyinfra.api import StringCommand

from deploy.operations import keyring, uv, uv_beside, venv

LOCK = "numpy==2.4.6 \\\n    --hash=sha256:00\n"
#: All of these may be in a URL. Source: RFC 3986, 2.2.
INDEX = "http://me:secret$(exit)&(b);c'd@i.example:8000/simple"
PROXY = "http://me:secret@p.example:3128"

#: Notes what it reads of its environment, and has its arguments do nothing.
UV = """#!/bin/sh
[ "$1" = pip ] || exec mkdir -p {venv}
printf '%s\\n' "$UV_DEFAULT_INDEX" "$HTTPS_PROXY" "$NO_PROXY" > {noted}
"""
PYTHON = """#!/bin/sh
[ "$2" = pip ] || exec true
printf '%s\\n' "$PIP_INDEX_URL" "$PIP_TRUSTED_HOST" "$HTTPS_PROXY" "$NO_PROXY" > {noted}
"""


def commands(
    module: ModuleType,
    operation: Any,
    found: object,
    *,
    patch: pytest.MonkeyPatch,
    **arguments: Any,
) -> list[StringCommand]:
    """Return the commands of an operation, on a host where every fact is the same."""
    patch.setattr(module, "host", SimpleNamespace(get_fact=lambda *_, **__: found))
    return list(operation._inner(**arguments))


def stdin_of(command: StringCommand) -> str:
    return str(command.connector_arguments["_stdin"])


@pytest.mark.parametrize(
    ("module", "operation", "found", "arguments"),
    [
        (uv, uv.locked, {}, {"path": "/v", "requirements": LOCK, "index": INDEX}),
        (uv, uv.locked, {"/v": "x"}, {"path": "/v", "requirements": LOCK, "index": INDEX}),
        (venv, venv.locked, None, {"path": "/v", "requirements": LOCK, "index": INDEX}),
        (uv_beside, uv_beside.load_ahead, {},
         {"venvs": {"/v": LOCK}, "folder": "/", "mib": 1, "index": INDEX}),
        (keyring, keyring.fetch_key, "", {"url": INDEX, "dest": "/k.asc", "fingerprint": "00"}),
    ],
)  # fmt: skip
def test_no_login_is_in_the_words_of_a_command(
    module: ModuleType,
    operation: Any,
    found: object,
    arguments: Any,
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = commands(module, operation, found, patch=monkeypatch, proxy=PROXY, **arguments)
    assert not any("secret" in command.get_raw_value() for command in made)
    assert all(text in stdin_of(made[-1]) for text in ("i.example:8000", PROXY))
    for command in made:
        subprocess.run(["sh", "-n", "-c", command.get_raw_value()], check=True)


def play(command: StringCommand, program: Path, text: str) -> None:
    """Run a command, with a stand-in for a program before all others."""
    program.write_text(text)
    program.chmod(0o755)
    script = f"PATH={program.parent}:$PATH; {command.get_raw_value()}"
    subprocess.run(["sh", "-c", script], input=stdin_of(command), text=True, check=True)


def test_uv_gets_index_and_proxy_and_the_venv_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, tools, noted = tmp_path / "x", tmp_path / "tools", tmp_path / "noted"
    tools.mkdir()
    monkeypatch.setattr(uv, "UV", str(tools / "uv"))
    monkeypatch.setattr(uv, "MUTEX", str(tmp_path / "mutex"))
    (made,) = commands(
        uv,
        uv.locked,
        {},
        patch=monkeypatch,
        path=str(path),
        requirements=LOCK,
        index=INDEX,
        proxy=PROXY,
    )
    play(made, tools / "uv", UV.format(venv=path, noted=noted))
    assert noted.read_text().splitlines() == [INDEX, PROXY, venv.GATEWAY]
    assert (path / "requirements.txt").read_text() == LOCK


def test_pip_gets_index_and_proxy_and_the_venv_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, tools, noted = tmp_path / "x", tmp_path / "tools", tmp_path / "noted"
    tools.mkdir()
    (made,) = commands(
        venv,
        venv.locked,
        None,
        patch=monkeypatch,
        path=str(path),
        requirements=LOCK,
        index=INDEX,
        proxy=PROXY,
    )
    play(made, tools / "python3", PYTHON.format(noted=noted))
    assert noted.read_text().splitlines() == [INDEX, "i.example:8000", PROXY, venv.GATEWAY]
    assert (path / "requirements.txt").read_text() == LOCK


@pytest.mark.parametrize(
    ("index", "wanted"),
    [
        ("", {}),
        ("https://i.example/s", {"PIP_INDEX_URL": "https://i.example/s"}),
        ("http://me:x@10.0.2.2:8000/s",
         {"PIP_INDEX_URL": "http://me:x@10.0.2.2:8000/s", "PIP_TRUSTED_HOST": "10.0.2.2:8000"}),
    ],
)  # fmt: skip
def test_pip_trusts_an_index_without_tls_only_where_that_is_the_index(
    index: str, wanted: dict[str, str]
) -> None:
    found = venv.environment(index, "")
    own = {"PIP_CERT": venv.BUNDLE, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    assert found == {**own, **wanted}


def test_nothing_leads_elsewhere_without_a_proxy() -> None:
    assert venv.through("") == {}
    assert "PROXY" not in uv.environment("", "")
