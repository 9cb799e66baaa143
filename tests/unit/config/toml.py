"""Writes TOML for tests, and makes up values that a cube.toml might hold."""

import json
from datetime import UTC, date, time

from hypothesis import strategies as st

from cube.config import Spec
from cube.runtime.toml_errors import known_keys, tables_in

Value = object

#: Values that are nearly right somewhere.
NEAR = [
    "",
    " ",
    "auto",
    "off",
    "none",
    "host",
    "cube",
    "debian-13",
    "ubuntu-24.04",
    "lvm",
    "16 GiB",
    "\u0661\u0666 GiB",
    "1 day",
    "never",
    "2026-11-23",
    "0.1.0",
    "\u0660.\u0661.\u0660",
    "en_US.UTF-8",
    "Europe/Berlin",
    "US/Eastern",
    "localtime",
    "http://proxy:3128",
    "http://me:p@ss/w@proxy",
    "https://[::1]:99/x",
    "http://[::1",
    "file:///x",
    "file:///%zz",
    "fe80::1%eth 0",
    "999.999.999.999",
    "1.2.3.4",
    "ssh-ed25519 AAAA",
    "ssh-rsa AAAAB3NzaC1yc2E= x",
    "/",
    "~",
    "~nobody-here/x",
    "../..",
    "a\x00b",
    "x" * 300,
    "x/" * 2100,
    "-----BEGIN PRIVATE KEY-----",
    "qemu:///embed",
    "nonsense",
    "common",
    "a@sha256:" + "0" * 64,
    "0" * 64,
    "%",
    "${HOME}",
    "\u202e",
    "ß.example",
    "1" * 5000 + " GiB",
]


def tables() -> dict[str, list[str]]:
    """Return every table of cube.toml with its keys."""
    found = {}
    for name, field in known_keys(Spec).items():
        for table in tables_in(field.annotation):
            found[name] = list(known_keys(table))
    return {
        **found,
        'os."ubuntu-24.04"': ["iso_url", "iso_sha256", "autoinstall_schema"],
        'os."debian-13"': ["kernel"],
        "hosts.desk1": ["address", "port", "user", "key"],
    }


def render(value: Value) -> str:
    """Write a value as TOML does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, list):
        return f"[{', '.join(map(render, value))}]"
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{render(key)} = {render(item)}" for key, item in value.items()) + "}"
        )
    return str(value)


scalars = st.one_of(
    st.sampled_from(NEAR),
    st.text(max_size=40),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.integers(min_value=10**30, max_value=10**40),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.sampled_from([None, UTC])),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Make up a file whose keys are mostly those of cube.toml."""
    known, lines = tables(), list[str]()
    for table in draw(st.lists(st.sampled_from(sorted(known)), unique=True, max_size=4)):
        lines.append(f"[{table}]")
        keys = st.lists(st.sampled_from([*known[table], "unknown", '"odd\\u0001key"']), unique=True)
        lines += [f"{key} = {render(draw(values))}" for key in draw(keys.map(lambda one: one[:4]))]
    return "\n".join(lines)
