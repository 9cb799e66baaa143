"""Docker's files and images: what is read of them."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from pyinfra.api import OperationValueError

from deploy.facts.docker import MARK, Daemon, DockerDaemon
from deploy.operations.docker import image_ids


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
