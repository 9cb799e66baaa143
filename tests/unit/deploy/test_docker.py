"""Docker's settings: what is merged, and what somebody else's stays."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import OperationValueError

from deploy.facts.docker import MARK, Daemon, DockerDaemon
from deploy.operations.docker import image_ids, merge

RUNTIMES = {"nvidia": {"path": "nvidia-container-runtime", "args": []}}

#: What is there, what is wanted, what the role wanted before; what comes of it.
MERGES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("nothing there", {}, {"a": 1}, {}, {"a": 1}),
    ("the same", {"a": 1}, {"a": 1}, {}, {"a": 1}),
    ("others stay", {"b": 2}, {"a": 1}, {}, {"b": 2, "a": 1}),
    ("own value moves on", {"a": 1}, {"a": 2}, {"a": 1}, {"a": 2}),
    ("beside other runtimes", {"runtimes": {"kata": {}}}, {"runtimes": RUNTIMES}, {},
     {"runtimes": {"kata": {}, **RUNTIMES}}),
    ("own value inside", {"o": {"x": 1, "y": 1}}, {"o": {"x": 2}}, {"o": {"x": 1}},
     {"o": {"x": 2, "y": 1}}),
    ("a value of false is a value", {"a": False}, {"a": False}, {}, {"a": False}),
]  # fmt: skip

KEPT: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    ("set by hand", {"a": 3}, {"a": 1}, {}, "a stays 3, somebody set it; 1 was wanted"),
    ("changed by hand since", {"a": 3}, {"a": 2}, {"a": 1}, "a stays 3"),
    ("inside", {"o": {"x": "9"}}, {"o": {"x": "5"}}, {}, 'o.x stays "9"'),
    ("a null by hand", {"a": None}, {"a": 1}, {}, "a stays null, somebody set it; 1 was wanted"),
    ("another kind", {"o": 1}, {"o": {"x": 1}}, {}, "o stays 1"),
]


@pytest.mark.parametrize(("current", "wanted", "before", "result"), [m[1:] for m in MERGES],
                         ids=[m[0] for m in MERGES])  # fmt: skip
def test_settings_are_added(
    current: dict[str, Any], wanted: dict[str, Any], before: dict[str, Any], result: dict[str, Any]
) -> None:
    assert merge(current, wanted, before=before) == (result, [])


@pytest.mark.parametrize(("current", "wanted", "before", "told"), [k[1:] for k in KEPT],
                         ids=[k[0] for k in KEPT])  # fmt: skip
def test_what_somebody_set_stays_and_is_told(
    current: dict[str, Any], wanted: dict[str, Any], before: dict[str, Any], told: str
) -> None:
    merged, kept = merge(current, wanted, before=before)
    assert merged == current
    assert [line[: len(told)] for line in kept] == [told]


@pytest.mark.parametrize(
    ("file", "note", "found"),
    [
        ("", "", Daemon()),
        ('{"a": 1}', "", Daemon(settings={"a": 1})),
        ('{\n "a": 1\n}', '{"docker": {"a": 1}}',
         Daemon(settings={"a": 1}, noted={"docker": {"a": 1}})),
        ("{}", "{damaged", Daemon()),
        ("[]", "", Daemon(fault="it holds no JSON object")),
        ("{", "", Daemon(fault="Expecting property name enclosed in double quotes: "
                               "line 1 column 2 (char 1)")),
    ],
)  # fmt: skip
def test_both_files_are_read(file: str, note: str, found: Daemon) -> None:
    output = [*file.splitlines(), "", MARK, *note.splitlines()]
    assert DockerDaemon().process(output) == found


def write_archive(path: Path, configs: list[str], digests: list[str]) -> Path:
    files: dict[str, object] = {"manifest.json": [{"Config": one, "Layers": []} for one in configs]}
    if digests:
        files["index.json"] = {"manifests": [{"digest": one} for one in digests]}
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            text = json.dumps(data).encode()
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return path


def test_images_of_an_archive_are_known_by_their_ids(tmp_path: Path) -> None:
    new, old = "1" * 64, "2" * 64
    archive = write_archive(tmp_path / "a.tar", [f"blobs/sha256/{new}", f"{old}.json"], [])
    assert image_ids(archive) == [[f"sha256:{new}", f"sha256:{old}"]]


def test_images_of_an_archive_may_be_known_by_their_manifests(tmp_path: Path) -> None:
    config, manifest = "1" * 64, f"sha256:{'2' * 64}"
    archive = write_archive(tmp_path / "a.tar", [f"blobs/sha256/{config}"], [manifest])
    assert image_ids(archive) == [[f"sha256:{config}"], [manifest]]


def test_a_file_that_is_no_archive_of_images_is_named(tmp_path: Path) -> None:
    plain = tmp_path / "plain.tar"
    plain.write_text("no archive\n")
    empty = tmp_path / "empty.tar"
    with tarfile.open(empty, "w"):
        pass
    for file in (plain, empty, tmp_path / "none.tar"):
        with pytest.raises(OperationValueError, match=f"{file.name}: is no archive of docker save"):
            image_ids(file)
