"""A key is its ingredients: another ingredient is another key, and nothing else is."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cube.chain.key import keys

WORDS = st.text(max_size=12)
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
VALUES = st.one_of(WORDS, st.integers(), st.booleans(), st.lists(WORDS, max_size=3))
NAMES = st.from_regex(r"[a-z][a-z_.]{0,12}", fullmatch=True)
INGREDIENTS = st.fixed_dictionaries(
    {
        "format": st.integers(1, 9),
        "name": st.sampled_from(["base", "layer1", "layer5"]),
        "parent": HEX,
        "refresh": WORDS,
        "tools": st.dictionaries(NAMES, WORDS, max_size=2),
        "data": st.dictionaries(NAMES, VALUES, max_size=4),
        "sources": st.dictionaries(st.from_regex(r"deploy/[a-z]{1,9}\.py", fullmatch=True), HEX),
    }
)


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every value that is no table."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, (*path, name))
    else:
        yield path


def at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value[name]
    return value


def other(data: st.DataObject, value: object) -> object:
    """Draw a value that may stand in for another one."""
    strategy = {bool: st.booleans(), int: st.integers(), list: st.lists(WORDS)}.get(
        type(value), WORDS
    )
    found = data.draw(strategy)
    assume(found != value)
    return found


def backwards(value: Any) -> Any:
    """Return the same with every table in the opposite order."""
    if isinstance(value, dict):
        return {name: backwards(item) for name, item in reversed(value.items())}
    return value


@given(made=INGREDIENTS, data=st.data())
def test_another_ingredient_is_another_key_and_is_named(
    made: dict[str, Any], data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(sorted(leaves(made))))
    changed = json.loads(json.dumps(made))
    at(changed, path[:-1])[path[-1]] = other(data, at(made, path))
    assert keys.digest(changed) != keys.digest(made)
    [line] = keys.differences(made, changed)
    assert (path[-1] if path[0] in {"data", "sources", "tools"} else "") in line


@given(made=INGREDIENTS, data=st.data())
def test_one_ingredient_less_is_another_key_and_is_named(
    made: dict[str, Any], data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(sorted(leaves(made))))
    without = json.loads(json.dumps(made))
    del at(without, path[:-1])[path[-1]]
    assert keys.digest(without) != keys.digest(made)
    assert len(keys.differences(made, without)) == len(keys.differences(without, made)) == 1


@given(made=INGREDIENTS)
def test_the_same_ingredients_are_the_same_key_in_any_order(made: dict[str, Any]) -> None:
    assert keys.digest(backwards(made)) == keys.digest(made)
    assert keys.digest(json.loads(json.dumps(made, indent=2))) == keys.digest(made)
    assert keys.differences(made, backwards(made)) == []


@given(value=st.recursive(VALUES | st.none(), lambda inner: st.lists(inner, max_size=3)))
def test_a_digest_is_a_sha256(value: object) -> None:
    assert re.fullmatch("[0-9a-f]{64}", keys.digest(value))


def test_the_canonical_form_can_be_made_by_any_tool() -> None:
    """Another form leaves every store without use: then raise FORMAT."""
    form = rb'{"a":1,"b":["caf\u00e9",true,null],"c":{}}'
    value = {"c": {}, "b": ("caf\u00e9", True, None), "a": 1}
    assert keys.digest(value) == hashlib.sha256(form).hexdigest()


def test_a_file_name_that_is_no_text_has_a_key() -> None:
    assert keys.digest({"ca_certificates": {"\udcff.crt": "0"}})


# -- data as it is kept


@given(data=st.dictionaries(NAMES, VALUES))
def test_plain_data_stays_what_it_is(data: dict[str, object]) -> None:
    assert keys.plain(data) == data
    assert list(keys.plain(data)) == sorted(data)


def test_tuples_are_kept_as_lists() -> None:
    assert keys.plain({"roles": ("a", "b")}) == {"roles": ["a", "b"]}


SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=10)


@given(user=st.from_regex("[a-z]{0,8}", fullmatch=True), password=SECRETS, inside=st.booleans())
def test_a_password_is_never_kept(user: str, password: str, inside: bool) -> None:
    url = f"http://{user}:{password}@proxy.example:3128/"
    kept = keys.plain({"proxy": [url] if inside else url})
    assert password not in json.dumps(kept, ensure_ascii=False)
    assert kept != keys.plain({"proxy": [url + "x"] if inside else url + "x"})


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("http://proxy.example:3128/", "http://proxy.example:3128/"),
        ("ssh-ed25519 AAAA user@desk", "ssh-ed25519 AAAA user@desk"),
        ("", ""),
        ("https://token@index.example/", "sha256:"),
        ("https://me:a/b@index.example/", "sha256:"),
    ],
)
def test_only_a_url_with_a_login_is_hidden(value: str, kept: str) -> None:
    found = keys.plain({"name": value})["name"]
    assert str(found).startswith(kept)
    assert (found == value) == (kept == value)


def test_certificates_count_by_name_and_content(tmp_path: Path) -> None:
    files = []
    for folder in ("a", "b"):
        files.append(tmp_path / folder / "ca.crt")
        files[-1].parent.mkdir()
        files[-1].write_text("one")
    kept = [keys.plain({"ca_certificates": [str(file)]}) for file in files]
    assert kept[0] == kept[1]
    files[1].write_text("two")
    assert keys.plain({"ca_certificates": [str(files[1])]}) != kept[0]
    both = keys.plain({"ca_certificates": tuple(map(str, files))})["ca_certificates"]
    assert isinstance(both, dict)
    assert len(both) == 2
    assert {keys.file_digest(file) for file in files} == set(both.values())


# -- what differs, for a person


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ({"sources": {}}, {"sources": {"deploy/a.py": "1"}}, "deploy/a.py is new"),
        ({"sources": {"deploy/a.py": "1"}}, {"sources": {}}, "deploy/a.py is gone"),
        ({"sources": {"a b": "1"}}, {"sources": {"a b": "2"}}, "a b changed"),
        ({"parent": "1"}, {"parent": "2"}, "the link below it is another one"),
        ({"data": {"port": 22}}, {"data": {"port": 23}}, "cube.toml port: 22 -> 23"),
        ({"data": {}}, {"data": {"on": True}}, "cube.toml on: nothing -> true"),
        ({"data": {"keys": ["a"]}}, {"data": {"keys": []}}, 'cube.toml keys: ["a"] -> []'),
        ({"tools": {"pyinfra": "3"}}, {"tools": {"pyinfra": "4"}}, "version of pyinfra: 3 -> 4"),
        ({"format": 1}, {"format": 2}, "format: 1 -> 2"),
        (
            {"data": {"ca_certificates": {"x.crt": "1"}}},
            {"data": {"ca_certificates": {"x.crt": "2"}}},
            "ca_certificates x.crt changed",
        ),
    ],
)
def test_a_difference_is_told_in_words(
    before: dict[str, Any], after: dict[str, Any], line: str
) -> None:
    assert keys.differences(before, after) == [line]


def test_another_supply_is_told_in_words() -> None:
    [line] = keys.differences({"refresh": "2026-11-23"}, {"refresh": "2026-11-24"})
    assert "2026-11-23" in line
    assert "2026-11-24" in line
