"""The record beside a disk: what was written is read, and nothing else passes for it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cube.chain.key import keys
from cube.chain.store import link
from cube.chain.store.link import RECORD, LayerRecord, Link
from cube.chain.store.links import Store
from cube.runtime.errors import ChainError
from tests.unit.chain import samples


def make(folder: Path, **changes: Any) -> Link:
    """Write a record into its folder, without a disk."""
    made_from = samples.ingredients("layer1", "f" * 64)
    key = keys.digest(made_from)
    made = Link(
        folder=folder / link.folder_name("layer1", key),
        name="layer1",
        key=key,
        parent="f" * 64,
        refresh=samples.STAMP,
        created="2026-11-23T09:00:00+00:00",
        seconds=12.5,
        size_bytes=1,
        sha256="0" * 64,
        ingredients=made_from,
        layer=samples.record(1),
    )
    made.folder.mkdir(parents=True)
    data = {**json.loads(made.render()), **changes}
    kept = {name: value for name, value in data.items() if value is not ...}
    (made.folder / RECORD).write_text(json.dumps(kept))
    return made


def test_what_was_written_is_read(tmp_path: Path) -> None:
    made = make(tmp_path)
    assert link.read(made.folder) == made


def test_a_base_has_no_layer(tmp_path: Path) -> None:
    made = make(tmp_path, layer=None)
    assert link.read(made.folder) == replace(made, layer=None)


def test_a_record_can_be_read_by_a_person(chain: Store) -> None:
    text = (chain.links()[0].folder / RECORD).read_text()
    assert '\n  "name": "base",\n' in text
    assert text.endswith("}\n")


def test_where_a_link_is_does_not_enter_its_record(chain: Store, tmp_path: Path) -> None:
    moved = shutil.copytree(chain.folder, tmp_path / "elsewhere")
    before, after = chain.links(), Store(folder=moved).links()
    assert [replace(one, folder=tmp_path) for one in before] == [
        replace(one, folder=tmp_path) for one in after
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key": ...}, "'key'"),
        ({"layer": ...}, "'layer'"),
        ({"created": ...}, "'created'"),
        ({"name": 3}, "name is 3"),
        ({"key": None}, "key is None"),
        ({"created": 1.5}, "created is 1.5"),
        ({"created": "yesterday"}, "Invalid isoformat string: 'yesterday'"),
        ({"size_bytes": "12"}, "size_bytes is '12'"),
        ({"seconds": [1]}, r"seconds is \[1\]"),
        ({"ingredients": []}, r"ingredients is \[\]"),
        ({"layer": "1"}, "layer is '1'"),
        ({"layer": {"layer": 1}}, "'checks'"),
        ({"layer": {"layer": 1, "checks": [{"id": 1}]}}, "missing 4 required"),
        ({"layer": {"layer": 1, "checks": [], "mood": "good"}}, "unexpected keyword .* 'mood'"),
        ({"mood": "good"}, "unexpected keyword .* 'mood'"),
    ],
)
def test_a_wrong_record_is_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    made = make(tmp_path, **changes)
    with pytest.raises(ChainError, match=f"{RECORD}: cannot be read as .*{reason}"):
        link.read(made.folder)


@pytest.mark.parametrize("content", [b"", b"null", b"3", b'"x"', b"[]", b"{}", b"\xff\xfe", b"{"])
def test_what_is_no_record_is_refused(tmp_path: Path, content: bytes) -> None:
    made = make(tmp_path)
    (made.folder / RECORD).write_bytes(content)
    with pytest.raises(ChainError, match="cannot be read as a link record"):
        link.read(made.folder)


def test_a_missing_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ChainError, match="No such file"):
        link.read(tmp_path)


def test_the_record_of_another_folder_is_refused(tmp_path: Path) -> None:
    made = make(tmp_path)
    with pytest.raises(ChainError, match=f"belongs to {made.folder.name}"):
        link.read(made.folder.rename(tmp_path / "layer1-000000000000"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.data())
def test_a_bit_that_fell_over_never_ends_in_a_traceback(
    template: Path, tmp_path: Path, data: st.DataObject
) -> None:
    source = next(template.glob("layer1-*"))
    folder = tmp_path / source.name
    folder.mkdir(exist_ok=True)
    raw = bytearray((source / RECORD).read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    (folder / RECORD).write_bytes(raw)
    try:
        found = link.read(folder)
    except ChainError:
        return
    assert found.folder == folder
    assert json.loads(found.render())


def test_a_skipped_layer_says_why(tmp_path: Path) -> None:
    layer = LayerRecord(layer=2, skipped="no GPU")
    assert replace(make(tmp_path), layer=layer).skipped == "no GPU"
    assert make(tmp_path / "b", layer=None).skipped == ""


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"ingredients": ' + "[" * 500 + "]" * 500 + "}",
        '{"size_bytes": ' + "9" * 5000 + "}",
        '{"name": "\\ud800"}',
        "3",
        "null",
        "\x00",
        "",
    ],
    ids=range(9),
)
def test_whatever_is_in_a_record_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    folder = make(tmp_path).folder
    (folder / RECORD).write_text(text)
    with pytest.raises(ChainError, match="cannot be read as a link record") as caught:
        link.read(folder)
    assert len(caught.value.message.splitlines()) == 1
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    "layer",
    [
        {"layer": "1", "checks": []},
        {"layer": 1, "checks": {}},
        {"layer": 1, "checks": [3]},
        {"layer": 1, "checks": [], "skipped": None},
        {"layer": 1, "checks": [], "seconds": "9"},
        {
            "layer": 1,
            "checks": [{"id": 1, "title": "", "group": "", "outcome": "passed", "evidence": "vm"}],
        },
    ],
)
def test_a_layer_of_other_types_is_refused(tmp_path: Path, layer: dict[str, Any]) -> None:
    folder = make(tmp_path, layer=layer).folder
    with pytest.raises(ChainError, match="cannot be read as a link record"):
        link.read(folder)


def moved_out(folder: Path, part: str) -> Path:
    """Move a link, or a part of it, out of the store, and leave a symbolic link."""
    path = folder / part if part else folder
    out = folder.parents[1] / "out"
    path.rename(out)
    path.symlink_to(out)
    return path


@pytest.mark.parametrize("part", ["", RECORD, "disk.qcow2"])
def test_a_link_that_is_kept_elsewhere_is_not_whole(chain: Store, part: str) -> None:
    top = chain.links()[-1]
    path = moved_out(top.folder, part)
    with pytest.raises(ChainError, match=f"{path}: a symbolic link"):
        link.read(top.folder)
    assert top not in chain.links()
    assert chain.find(top.name, top.key) is None


def test_a_link_that_is_kept_elsewhere_is_made_anew_and_what_it_led_to_stays(chain: Store) -> None:
    top = chain.links()[-1]
    out = moved_out(top.folder, "").readlink()
    chain.forget(top.ingredients)
    assert not top.folder.exists()
    assert out.is_dir()
