"""A chain as one file, to another store and back."""

import contextlib
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cube.chain.store import integrity
from cube.chain.store.link import DISK, RECORD, Link
from cube.chain.store.links import Store
from cube.chain.transfer import archive, export, import_links, reader
from cube.disks import qcow2
from cube.runtime import run
from cube.runtime.errors import ChainError, HostError
from tests.unit.chain import samples

OS = "debian-13"


def send(store: Store, file: Path, name: str = "", *, only: bool = False) -> Path:
    """Export a link of a store."""
    link = store.named(name)
    links = archive.wanted_links(store, link, only=only)
    export.export(file, links, archive.describe(store, links, os_name=OS, head=link))
    return file


def plain(file: Path) -> Path:
    """Unpack an archive in place."""
    with file.open("rb") as stream:
        text = zstandard.ZstdDecompressor().stream_reader(stream).read()
    file.write_bytes(text)
    return file


def receive(store: Store, file: Path) -> import_links.Intake:
    return import_links.take_in(store, file, os_name=OS)


def contents(store: Store) -> dict[str, bytes]:
    """Return every file of a store by its path."""
    return {
        str(path.relative_to(store.folder)): path.read_bytes()
        for path in sorted(store.folder.rglob("*"))
        if path.is_file() and path.name != ".reading"
    }


def sound(store: Store) -> bool:
    links = store.links()
    return bool(links) and not integrity.damaged(links, links)


@pytest.fixture
def other(tmp_path: Path) -> Store:
    """An empty store of a colleague."""
    store = Store(folder=tmp_path / "other" / "chain")
    store.prepare()
    return store


@pytest.fixture
def file(chain: Store, tmp_path: Path) -> Path:
    """The chain, exported."""
    return send(chain, tmp_path / "chain.tar")


# -- there and back


def test_a_chain_arrives_as_it_was(chain: Store, other: Store, file: Path) -> None:
    found = receive(other, file)
    assert contents(other) == contents(chain)
    assert samples.names(list(found.links)) == ["base", "layer1", "layer2", "layer3"]
    assert (found.kept, found.is_head) == ((), True)
    assert other.head == found.head == other.named("layer3")
    assert sound(other)
    assert other.named("layer1").disk.stat().st_mode & 0o222 == 0


def test_the_same_links_give_the_same_bytes(chain: Store, file: Path, tmp_path: Path) -> None:
    copy = Store(folder=shutil.copytree(chain.folder, tmp_path / "elsewhere" / "chain"))
    assert send(copy, tmp_path / "again.tar").read_bytes() == file.read_bytes()


def test_the_index_comes_first_and_lists_the_rest(chain: Store, file: Path) -> None:
    with tarfile.open(plain(file)) as tar:
        names = tar.getnames()
        stream = tar.extractfile("index.json")
        assert stream is not None
        data = json.load(stream)
    assert names[0] == "index.json"
    assert names[1:] == archive.parse_index(json.dumps(data).encode()).members()
    for entry, link in zip(data["links"], chain.links(), strict=True):
        assert entry["disk_sha256"] == hashlib.sha256(link.disk.read_bytes()).hexdigest()
        assert (
            entry["record_sha256"]
            == hashlib.sha256((link.folder / RECORD).read_bytes()).hexdigest()
        )


def test_skipped_layers_below_go_along(store: Store, other: Store, tmp_path: Path) -> None:
    layer1 = samples.add_chain(store, top=1)[-1]
    samples.skip_layer(store, 2, layer1)
    samples.skip_layer(store, 4, layer1)
    samples.add_layer(store, 3, layer1)
    receive(other, send(store, tmp_path / "f.tar", "layer3"))
    assert samples.names(other.links()) == ["base", "layer1", "layer2", "layer3"]
    assert other.links()[2].skipped == "no GPU"


def test_one_link_alone_goes_where_its_parent_is(
    chain: Store, other: Store, tmp_path: Path
) -> None:
    receive(other, send(chain, tmp_path / "below.tar", "layer2"))
    found = receive(other, send(chain, tmp_path / "top.tar", "layer3", only=True))
    assert samples.names(list(found.links)) == ["layer3"]
    assert not found.is_head
    assert other.head == other.named("layer2")
    assert sound(other)


def test_a_link_that_is_there_is_kept(chain: Store, other: Store, file: Path) -> None:
    receive(other, file)
    before = [path.stat().st_mtime_ns for path in sorted(other.folder.rglob("*"))]
    found = receive(other, file)
    assert found.links == ()
    assert samples.names(list(found.kept)) == ["base", "layer1", "layer2", "layer3"]
    assert found.is_head
    after = [path.stat().st_mtime_ns for path in sorted(other.folder.rglob("*"))]
    assert after[1:] == before[1:]  # the folder itself had a visitor


def test_a_file_of_that_name_is_replaced_only_by_a_whole_one(chain: Store, tmp_path: Path) -> None:
    target = tmp_path / "chain.tar"
    target.write_text("precious")
    samples.flip(chain.named("layer3").disk, 5000)
    with pytest.raises(ChainError, match=r"layer3 .* is damaged"):
        send(chain, target)
    assert target.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chain", "chain.tar"]


# -- holes


def hollow(store: Store) -> Link:
    """Add a base whose file has holes of several MiB, at its end too."""
    samples.create_disk(store.begin())
    with store.unfinished.open("r+b") as stream:
        for at in (8 * 2**20, 12 * 2**20):
            stream.seek(at)
            stream.write(b"data" * 3000)
        stream.truncate(20 * 2**20)
    return store.freeze(samples.ingredients("base"), seconds=1)


def test_holes_take_no_space_on_the_way(store: Store, other: Store, tmp_path: Path) -> None:
    base = hollow(store)
    assert base.disk.stat().st_blocks * 512 < 2**20
    file = send(store, tmp_path / "f.tar", "base")
    assert file.stat().st_size < 2**20
    receive(other, file)
    assert contents(other)[f"{base.folder.name}/{DISK}"] == base.disk.read_bytes()
    assert other.named("base").disk.stat().st_blocks * 512 < 2**20
    assert sound(other)


@pytest.mark.skipif(shutil.which("zstd") is None, reason="GNU tar needs zstd")
def test_every_tar_can_unpack_it(store: Store, tmp_path: Path) -> None:
    base = hollow(store)
    store.set_head(samples.add_layer(store, 1, base))
    file = send(store, tmp_path / "f.tar")
    run.run(["tar", "-xf", file, "-C", tmp_path])
    for link in store.links():
        assert (tmp_path / link.folder.name / DISK).read_bytes() == link.disk.read_bytes()


# -- what is refused


def refused(store: Store, file: Path, pattern: str) -> ChainError:
    """Import what must be refused, in one line, the store left as it was."""
    before = contents(store)
    with pytest.raises(ChainError, match=pattern) as caught:
        receive(store, file)
    assert contents(store) == before
    assert not list(store.folder.glob(".doomed*"))
    assert str(file) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


def test_an_archive_without_compression_is_taken(other: Store, file: Path) -> None:
    receive(other, plain(file))
    assert sound(other)


def test_an_archive_that_ends_too_early(other: Store, file: Path) -> None:
    data = plain(file).read_bytes()
    with tarfile.open(file) as tar:
        ends = [member.offset_data + member.size for member in tar.getmembers()]
        starts = [member.offset for member in tar.getmembers()]
    for size in sorted({0, 1, 511, 512, *starts, *(at + 700 for at in starts), ends[-1] - 1}):
        file.write_bytes(data[:size])
        refused(other, file, "ends before|damaged|ends within")
        file.write_bytes(zstandard.compress(data[:size]))
        refused(other, file, "ends before|damaged|ends within")


def test_a_compressed_file_that_ends_too_early(other: Store, file: Path) -> None:
    data = file.read_bytes()
    for part in range(10):
        file.write_bytes(data[: len(data) * part // 10])
        refused(other, file, "ends before|damaged|ends within|another checksum")


def test_a_header_that_unpacks_to_more_than_any_text_is_not_read(other: Store, file: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 8 * reader.TEXT_BYTES
    file.write_bytes(zstandard.compress(info.tobuf() + bytes(info.size)))
    refused(other, file, "damaged, or not an exported chain")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), bit=st.integers(0, 7))
def test_a_bit_that_was_turned_over_never_gets_in(
    other: Store, file: Path, place: float, bit: int
) -> None:
    data = bytearray(file.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1 << bit
    bad = file.with_name("bad.tar")
    bad.write_bytes(data)
    with contextlib.suppress(ChainError):
        receive(other, bad)
        # It hit what says nothing: padding, or a member's time.
        assert sound(other)
        shutil.rmtree(other.folder)
        other.prepare()
    assert contents(other).keys() == {"format"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("empty", b""),
        ("text", b"hello\n" * 1000),
        ("zeros", bytes(20480)),
        ("noise", b"\xff" * 9999),
    ],
)
def test_a_file_that_is_no_archive(other: Store, tmp_path: Path, name: str, text: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(text)
    refused(other, file, "not an exported chain|ends before index.json")


def test_an_archive_of_something_else(other: Store, tmp_path: Path) -> None:
    file = tmp_path / "project.tar"
    with tarfile.open(file, "w") as tar:
        tar.add(__file__, "README.md")
    refused(other, file, "'README.md' in the place of index.json")


@pytest.mark.parametrize(("program", "hint"), [("gzip", "gunzip"), ("xz", "unxz")])
def test_a_compressed_file_says_how_to_unpack_it(
    other: Store, file: Path, program: str, hint: str
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    packed = file.with_suffix(".packed")
    with packed.open("wb") as stream:
        subprocess.run([program, "-c", str(file)], stdout=stream, check=True)
    assert hint in refused(other, packed, "damaged, or not an exported chain").hint


def test_a_base_of_another_image(store: Store, other: Store, tmp_path: Path) -> None:
    store.set_head(samples.add_base(store, **{"image.os": "ubuntu-24.04"}))
    refused(other, send(store, tmp_path / "f.tar"), "its base is one of ubuntu-24.04")


def test_links_of_another_image(other: Store, file: Path) -> None:
    with pytest.raises(ChainError, match="holds links of debian-13, not of ubuntu") as caught:
        import_links.take_in(other, file, os_name="ubuntu-24.04")
    assert "--os debian-13" in caught.value.hint


def test_a_file_that_is_not_there(other: Store, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="there is no file"):
        receive(other, tmp_path / "nothing.tar")


Member = tuple[tarfile.TarInfo, bytes]


def rewrite(file: Path, change: Callable[[list[Member]], object]) -> Path:
    """Write an archive anew with other members."""
    with reader.opened(file) as tar:
        members = [
            (info, stream.read() if (stream := tar.extractfile(info)) else b"") for info in tar
        ]
    change(members)
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file


def edit_index(members: list[Member], edit: Callable[[dict[str, Any]], None]) -> None:
    """Change what the index says."""
    info, text = members[0]
    data = json.loads(text)
    edit(data)
    members[0] = (info, json.dumps(data).encode())


def edit_record(members: list[Member], at: int, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change a link's record, and have the index agree: somebody does it with intent."""
    info, text = members[1 + 2 * at]
    data = json.loads(text)
    edit(data)
    new = json.dumps(data).encode()
    members[1 + 2 * at] = (info, new)
    digest = hashlib.sha256(new).hexdigest()
    edit_index(members, lambda index: index["links"][at].update(record_sha256=digest))


def replace_disk(members: list[Member], at: int, disk_file: Path) -> None:
    """Put another disk in the place of a link's, and have record and index agree."""
    info, _ = members[2 + 2 * at]
    data = disk_file.read_bytes()
    members[2 + 2 * at] = (info, data)
    digest = hashlib.sha256(data).hexdigest()
    edit_record(members, at, lambda record: record.update(sha256=digest, size_bytes=len(data)))
    told = {"disk_sha256": digest, "disk_bytes": len(data)}
    edit_index(members, lambda index: index["links"][at].update(told))


def test_an_archive_that_was_written_anew_is_taken(other: Store, file: Path) -> None:
    receive(other, rewrite(file, list.copy))
    assert sound(other)


@pytest.mark.parametrize(
    "name",
    ["/etc/cube", "../../escape", "base-000000000000/../../x", "base-000000000000/link.json/"],
)
def test_a_member_that_would_leave_the_store(
    other: Store, file: Path, tmp_path: Path, name: str
) -> None:
    def change(members: list[Member]) -> None:
        members[1][0].name = name

    refused(other, rewrite(file, change), "in the place of base-")
    assert not (tmp_path / "escape").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE]
)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_member_that_is_no_file(other: Store, file: Path, kind: bytes, at: int) -> None:
    def change(members: list[Member]) -> None:
        info, _ = members[at]
        info.type, info.linkname = kind, "/etc/passwd"
        members[at] = (info, b"")

    refused(other, rewrite(file, change), "in the place of")


@pytest.mark.parametrize("folder", ["../../etc", "/etc", "base-12", "layer1-00000000000g", "", "x"])
def test_a_folder_that_no_link_may_have(other: Store, file: Path, folder: str) -> None:
    def change(members: list[Member]) -> None:
        edit_index(members, lambda index: index["links"][0].update(folder=folder))

    refused(other, rewrite(file, change), "names the folder")


def lines(*edits: tuple[str, object]) -> Callable[[dict[str, Any]], None]:
    return lambda data: data.update(dict(edits))


@pytest.mark.parametrize(
    ("edit", "pattern"),
    [
        (lines(("format", 2)), "format 2, this cube reads 1"),
        (lines(("what", "a shopping list")), "not an exported chain"),
        (lines(("links", [])), "lists no link"),
        (lines(("links", 7)), "not an exported chain"),
        (lines(("head", 7)), "not an exported chain"),
        (lines(("head", "0" * 64)), "is not in it"),
        (lines(("more", 1)), "not an exported chain"),
        (lambda data: data.pop("os"), "not an exported chain"),
        (lambda data: data["links"].append(data["links"][0]), "or lists one twice"),
        (lambda data: data["links"].pop(), "which its index does not list"),
        (lambda data: data["links"].reverse(), "in the place of"),
        (
            lambda data: data["links"][1].update(record_sha256="0" * 64),
            "link.json has a checksum other",
        ),
        (lambda data: data["links"][1].update(disk_sha256="0" * 64), "differ about the disk"),
        (lambda data: data["links"][1].update(disk_bytes=1), "differ about the disk"),
        (lambda data: data["links"][1].update(disk_bytes="1"), "not an exported chain"),
        (
            lambda data: data["links"][1].update(parent_sha256="0" * 64),
            "same key, different content",
        ),
    ],
)
def test_an_index_that_does_not_fit(
    other: Store, file: Path, edit: Callable[[dict[str, Any]], None], pattern: str
) -> None:
    refused(other, rewrite(file, lambda members: edit_index(members, edit)), pattern)


@pytest.mark.parametrize(
    ("edit", "pattern"),
    [
        (lambda data: data["ingredients"].update(refresh="never"), "do not give its key"),
        (lambda data: data["ingredients"]["data"].update(user="root"), "do not give its key"),
        (lines(("parent", "0" * 64)), "do not give its key"),
        (lines(("name", "layer2")), "do not give its key"),
        (lines(("refresh", "never")), "do not give its key"),
        (lines(("sha256", "0" * 64)), "differ about the disk"),
        (lines(("size_bytes", 5)), "differ about the disk"),
        (lines(("created", "yesterday")), "not a link record"),
        (lines(("seconds", "x")), "not a link record"),
        (lambda data: data["layer"].update(skipped="why not"), "differ about the disk"),
        (lambda data: data.pop("key"), "not a link record"),
        (lambda data: data.update(extra=1), "not a link record"),
        (lambda data: data["ingredients"].update(format=99), "not a link record of this version"),
    ],
)
def test_a_record_that_does_not_fit(
    other: Store, file: Path, edit: Callable[[dict[str, Any]], None], pattern: str
) -> None:
    refused(other, rewrite(file, lambda members: edit_record(members, 1, edit)), pattern)


def test_a_disk_with_other_bytes(other: Store, file: Path) -> None:
    def change(members: list[Member]) -> None:
        info, data = members[4]
        members[4] = (info, data[:-1] + b"!")

    refused(other, rewrite(file, change), "disk.qcow2 has a checksum other than")


@pytest.mark.parametrize(
    ("argv", "pattern"),
    [
        (["-b", "/etc/passwd", "-F", "raw", "-u"], "stands on '/etc/passwd'"),
        (["-b", 'json:{"driver": "nbd"}', "-F", "qcow2", "-u"], "stands on 'json:"),
        (["-b", "PARENT", "-F", "raw", "-u"], "stands on"),
        ([], "stands on ''"),
        (["-o", "data_file=raw"], "keeps its data in another file"),
    ],
)
def test_a_disk_that_reaches_for_another_file(
    other: Store, file: Path, argv: list[str], pattern: str
) -> None:
    with reader.opened(file) as tar:
        parent = f"../{tar.getnames()[2]}"
    words = [word.replace("PARENT", parent) for word in argv]
    evil = file.with_name("evil.qcow2")
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", *words, evil, "64M"], cwd=file.parent)
    refused(other, rewrite(file, lambda members: replace_disk(members, 1, evil)), pattern)


def test_a_disk_that_is_no_qcow2(other: Store, file: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for text in (b"x" * 70000, b"QFI\xfb", b"QFI\xfb" + b"\xff" * 70000):
        raw.write_bytes(text)
        copy = Path(shutil.copy(file, tmp_path / "copy.tar"))
        bad = rewrite(copy, lambda members: replace_disk(members, 1, raw))
        refused(other, bad, "is not a qcow2")


# -- what does not fit the store


def test_a_link_without_its_parent(chain: Store, other: Store, tmp_path: Path) -> None:
    error = refused(other, send(chain, tmp_path / "f.tar", only=True), "neither before it nor here")
    assert "without --only" in error.hint


def test_the_same_key_made_twice_with_other_bytes(
    chain: Store, other: Store, file: Path, tmp_path: Path
) -> None:
    """An overlay on a disk that it was not made on is a broken file system."""
    samples.create_disk(other.begin())
    samples.write(other.unfinished, "other bytes")
    base = other.freeze(samples.ingredients("base"), seconds=1)
    assert base.key == chain.named("base").key
    refused(other, file, "same key, different content")
    alone = send(chain, tmp_path / "alone.tar", "layer1", only=True)
    assert "rm -r" in refused(other, alone, "same key, different content").hint


def test_a_link_that_would_come_below_a_stranger(chain: Store, file: Path) -> None:
    shutil.rmtree(chain.named("base").folder)
    refused(chain, file, "layer1 .*, which is here, stood on a base that is gone")


def test_a_link_that_is_here_damaged(chain: Store, file: Path) -> None:
    (chain.named("layer3").folder / RECORD).write_text("{")
    assert "rm -r" in refused(chain, file, "is here already, and damaged").hint


def test_what_a_kill_left_is_cleared(other: Store, file: Path) -> None:
    left = other.folder / ".doomed-import" / "base-000000000000"
    left.mkdir(parents=True)
    (left / DISK).write_text("half")
    receive(other, file)
    assert sound(other)
    assert not list(other.folder.glob(".doomed*"))


def test_a_crash_while_links_get_their_names_leaves_whole_chains(
    other: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, done = Path.rename, list[Path]()

    def die(path: Path, target: Path) -> Path:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(target)
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", die)
        with pytest.raises(KeyboardInterrupt):
            receive(other, file)
    assert samples.names(other.links()) == ["base", "layer1"]
    assert sound(other)
    assert samples.names(list(receive(other, file).links)) == ["layer2", "layer3"]
    assert qcow2.info(other.named("layer3").disk).backing is not None
