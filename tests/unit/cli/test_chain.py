"""`cube chain`, `cube rollback` and `cube bisect` as a user types them."""

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cube.chain.key import keys
from cube.chain.store.link import RECORD
from cube.chain.store.links import Store
from cube.cli import command_line
from cube.cli.bisect import shell_line
from cube.disks import qcow2
from cube.runtime import lock
from cube.runtime.errors import BusyError, ChainError, CubeError, HostError
from tests.unit.chain import samples

PROJECT = Path(__file__).parents[3]
VERBS = ["show", "why", "verify", "prune", "export", "import"]


@dataclass(frozen=True)
class Place:
    """A folder with a cube.toml, and the build folder that it names."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def root(self) -> Path:
        return self.folder / "build" / "debian-13"

    @property
    def store(self) -> Store:
        return Store(folder=self.root / "chain")

    def run(self, *words: str, code: int = 0) -> tuple[str, str]:
        """Run a command; return both outputs."""
        ours, command = command_line.split_command(words)
        more = ["--", *command] if command else []
        found = command_line.main([*ours, "--spec", str(self.folder / "cube.toml"), *more])
        out, err = self.capsys.readouterr()
        assert found == code, out + err
        return out, err

    def json(self, *words: str, code: int = 0) -> list[dict[str, Any]]:
        """Run a command; return every object that it prints."""
        out, err = self.run(*words, "--json", code=code)
        assert err == ""
        return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    (tmp_path / "cube.toml").write_text('[build]\ndir = "build"\nmachine = "vm"\n')
    return Place(tmp_path, capsys)


@pytest.fixture
def place(empty: Place) -> Place:
    """A base and layers 1 and 2, of ingredients that no build would have."""
    empty.store.prepare()
    samples.add_chain(empty.store, top=2)
    return empty


@pytest.mark.parametrize(
    "words", [["chain"], *(["chain", verb] for verb in VERBS), ["rollback"], ["bisect"]]
)
def test_every_command_explains_itself(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        command_line.main([*words, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for option in ("--os IMAGE", "--spec FILE", "--json", "--plain"):
        assert option in out


@pytest.mark.parametrize("file", ["docs/reference.md", "docs/build.md"])
def test_every_command_is_documented(file: str) -> None:
    text = (PROJECT / file).read_text()
    for words in ["cube chain", *(f"cube chain {verb}" for verb in VERBS[1:])]:
        assert words in text
    assert "cube rollback " in text
    assert "cube bisect " in text


def test_no_document_names_an_option_that_is_gone() -> None:
    files = [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]
    assert [file.name for file in files if "--from " in file.read_text()] == []


@pytest.mark.parametrize(
    "words",
    [
        ["chain", "nonsense"], ["chain", "why"], ["chain", "prune"],
        ["chain", "prune", "--keep", "x"],
        ["chain", "prune", "--keep", "-1"], ["chain", "prune", "--max-size", "20"],
        ["chain", "export"], ["chain", "import"], ["rollback"], ["bisect"],
        ["bisect", "--machine", "phone", "--", "true"], ["chain", "--os", "beos"],
    ],
)  # fmt: skip
def test_a_wrong_command_line_ends_with_2(place: Place, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        place.run(*words)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "words",
    [["chain", "--os", "ubuntu-24.04", "verify"], ["chain", "verify", "--os", "ubuntu-24.04"]],
)
def test_an_option_counts_before_and_after_the_verb(place: Place, words: list[str]) -> None:
    toml = place.folder / "cube.toml"
    toml.write_text(
        toml.read_text()
        + f'[os."ubuntu-24.04"]\niso_url = "https://host/x.iso"\niso_sha256 = "{"0" * 64}"\n'
    )
    _, err = place.run(*words, code=ChainError.exit_code)
    assert "ubuntu-24.04" in err


def test_the_view_counts_before_the_verb(place: Place) -> None:
    out, _ = place.run("chain", "--json", "verify")
    assert json.loads(out.splitlines()[-1])["kind"] == "verify"


# -- show and why


def test_the_table_shows_links_and_what_a_build_would_do(place: Place) -> None:
    out, _ = place.run("chain")
    assert place.run("chain", "show")[0] == out
    head = place.store.named("layer2")
    assert "debian-13: 3 links, " in out
    assert f"head: layer2 {head.short}" in out
    assert out.count(head.short) == 2
    assert "layer5  made anew, because base below it is" in out


def test_a_program_gets_the_table_as_one_object(place: Place) -> None:
    (data,) = place.json("chain")
    assert [link["name"] for link in data["links"]] == ["base", "layer1", "layer2"]
    assert data["head"] == data["links"][2]["key"]
    assert [fate["name"] for fate in data["wanted"]][:2] == ["base", "layer1"]
    assert not any(fate["reused"] for fate in data["wanted"])


def test_an_empty_chain_is_shown_and_nothing_is_made(empty: Place) -> None:
    out, _ = empty.run("chain")
    assert "0 links" in out
    assert "base    made anew: there was none yet" in out
    assert not empty.root.exists()


def test_the_chain_is_shown_while_a_build_runs(place: Place) -> None:
    with lock.held(place.root / "lock"):
        place.store.extend(place.store.named("layer2"))
        out, _ = place.run("chain")
        assert "3 links" in out
        place.run("chain", "why", "layer1")
        place.run("chain", "verify")


def test_a_role_that_cannot_be_read_hides_no_link(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise CubeError("deploy/roles/users.py, line 7: invalid syntax", hint="correct the file")

    monkeypatch.setattr("cube.cli.chain.why.fates", fail)
    out, err = place.run("chain", code=CubeError.exit_code)
    assert place.store.named("layer2").short in out
    assert "line 7" in err


def test_a_damaged_record_is_warned_of_once(place: Place) -> None:
    (place.store.named("layer2").folder / RECORD).write_text("{")
    _, err = place.run("chain")
    assert err.count("cannot be read as a link record") == 1


def test_why_tells_every_reason(place: Place) -> None:
    out, _ = place.run("chain", "why", "base")
    assert out.startswith("base would be made anew\nbase ")
    assert "  cube.toml image.os: nothing -> debian-13\n" in out
    (data,) = place.json("chain", "why", "layer1")
    assert data["below"] == "base"
    assert data["cause"]["name"] == "base"
    assert data["cause"]["reasons"]


def test_why_of_a_layer_that_is_not_wanted(place: Place) -> None:
    _, err = place.run("chain", "why", "layer7", code=ChainError.exit_code)
    assert "cube.toml wants no link 'layer7'" in err


# -- verify


def test_verify_has_a_line_for_every_link(place: Place) -> None:
    out, _ = place.run("chain", "verify")
    assert [line.split() for line in out.splitlines()] == [
        [link.folder.name, "whole"]
        for link in sorted(place.store.links(), key=lambda link: link.name)
    ]


def test_verify_names_what_is_damaged_and_the_remedy(place: Place) -> None:
    link = place.store.named("layer1")
    samples.flip(link.disk, 5000)
    (place.store.named("layer2").folder / RECORD).write_text("{")
    out, err = place.run("chain", "verify", code=ChainError.exit_code)
    assert f"{link.folder.name}  damaged: disk.qcow2 has the sha256" in out
    assert "damaged: its record cannot be read" in out
    assert "of 4 are damaged: " in err  # with the head, whose link is gone
    assert link.folder.name in err
    assert "cube build makes again" in err


def test_verify_tells_a_program(place: Place) -> None:
    samples.flip(place.store.named("layer1").disk, 5000)
    *_, result, error = place.json("chain", "verify", code=ChainError.exit_code)
    assert result["damaged"] == [place.store.named("layer1").folder.name]
    assert error["exit_code"] == ChainError.exit_code


def test_verify_of_nothing_is_no_success(empty: Place) -> None:
    _, err = empty.run("chain", "verify", code=ChainError.exit_code)
    assert "there is no link in" in err
    assert "cube build" in err


# -- prune


def test_prune_says_what_went_and_how_much(place: Place) -> None:
    store = place.store
    gone = store.named("layer2")
    store.set_head(samples.add_layer(store, 2, store.named("layer1"), other=True))
    out, _ = place.run("chain", "prune", "--keep", "1", "--dry-run")
    assert f"layer2 {gone.short}" in out
    assert "1 links would be removed" in out
    assert gone in store.links()
    out, _ = place.run("chain", "prune", "--keep", "1")
    assert "1 links removed" in out
    assert gone not in store.links()
    (data,) = place.json("chain", "prune", "--keep", "1")
    assert (data["removed"], data["freed_bytes"], data["dry_run"]) == ([], 0, False)


def test_prune_that_cannot_reach_its_size_is_no_success(place: Place) -> None:
    samples.write(place.store.extend(place.store.named("layer2")), "x" * 2**21)
    place.store.set_head(
        place.store.freeze(samples.layer(3, place.store.named("layer2")), seconds=1)
    )
    out, err = place.run("chain", "prune", "--max-size", "1 MiB", code=CubeError.exit_code)
    assert "0 links removed" in out
    assert "are left, more than 1.0 MiB" in err
    place.run("chain", "prune", "--max-size", "1 GiB")


BUILD = """
import sys
from pathlib import Path
from cube.runtime import lock
from cube.chain.store.links import Store
store = Store(folder=Path(sys.argv[1]) / "chain")
with lock.held(Path(sys.argv[1]) / "lock"):
    store.extend(next(link for link in store.links() if link.key == sys.argv[2]))
    print("building", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    "words",
    [
        ["chain", "prune", "--keep", "1"], ["chain", "prune", "--max-size", "1 MiB"],
        ["chain", "import", "nothing.tar"], ["rollback", "base"],
    ],
)  # fmt: skip
def test_nothing_is_changed_while_a_child_is_built(place: Place, words: list[str]) -> None:
    """Above all no parent goes."""
    store = place.store
    parent = samples.add_layer(store, 2, store.named("layer1"), other=True)
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD, str(place.root), parent.key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "building\n"
        before, head = store.links(), store.head
        _, err = place.run(*words, code=BusyError.exit_code)
        assert f"pid {process.pid}" in err
        assert (store.links(), store.head) == (before, head)
        backing = qcow2.info(store.unfinished).backing
        assert backing is not None
        assert backing.resolve() == parent.disk


# -- rollback


def test_rollback_there_and_back(place: Place) -> None:
    top = place.store.named("layer2")
    out, _ = place.run("rollback", "layer1")
    assert "the head is layer1" in out
    assert "set aside: layer2; cube build makes them anew" in out
    assert f"cube rollback {top.short}" in out
    assert "set aside" in place.run("chain")[0]
    out, _ = place.run("rollback", "layer2")
    assert "back in use: layer2" in out
    (data,) = place.json("rollback", "base")
    assert data["head"]["name"] == "base"
    assert len(data["set_aside"]) == 2


def test_rollback_to_what_is_not_there(place: Place, empty: Place) -> None:
    _, err = place.run("rollback", "layer5", code=ChainError.exit_code)
    assert "there is no link 'layer5'" in err
    assert "base, layer1, layer2" in err


def test_rollback_in_an_empty_chain(empty: Place) -> None:
    _, err = empty.run("rollback", "layer2", code=ChainError.exit_code)
    assert "cube build" in err


# -- export and import


def test_a_chain_goes_to_a_colleague(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "chain.tar"
    out, _ = place.run("chain", "export", str(file))
    assert f"{file}: " in out
    assert "cube chain import" in out
    top = place.store.named("layer2")
    shutil.rmtree(place.root)
    out, _ = place.run("chain", "import", str(file))
    assert f"layer2 {top.short}: imported" in out
    assert f"layer2 {top.short} is the head" in out
    place.run("rollback", "base")
    out, _ = place.run("chain", "import", str(file))
    assert "kept, it was here" in out
    assert f"to make layer2 {top.short} the head: cube rollback {top.short}" in out
    place.run("chain", "verify")


def test_one_link_is_exported_alone(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "one.tar"
    *_, data = place.json("chain", "export", str(file), "layer1", "--only")
    name = place.store.named("layer1").folder.name
    assert data["links"] == [f"{name}/link.json", f"{name}/disk.qcow2"]
    assert data["size_bytes"] == file.stat().st_size
    shutil.rmtree(place.root)
    _, err = place.run("chain", "import", str(file), code=ChainError.exit_code)
    assert "neither before it nor here" in err


@pytest.mark.parametrize("name", ["missing/chain.tar", "build"])
def test_an_export_without_a_place_is_told(place: Place, tmp_path: Path, name: str) -> None:
    _, err = place.run("chain", "export", str(tmp_path / name), code=HostError.exit_code)
    assert name in err


def test_an_export_of_nothing_is_told(empty: Place, tmp_path: Path) -> None:
    file = tmp_path / "chain.tar"
    _, err = empty.run("chain", "export", str(file), code=ChainError.exit_code)
    assert "there is no link yet" in err
    assert not file.exists()


def test_an_import_of_nothing_is_told(place: Place) -> None:
    _, err = place.run("chain", "import", "nothing.tar", code=HostError.exit_code)
    assert "there is no file nothing.tar" in err


#: Mounts a disk that nobody else sees, fills a part of it, runs a command, and names what it left.
SMALL = """
mount -t tmpfs -o "size=$1" tmpfs "$3" && folder=$3 || exit
head -c "$2" /dev/zero >"$folder/filler"
shift 3 && "$@" >&2
code=$?
find "$folder" -name "*.tar" -o -name "*.new" -o -name "*.qcow2"
exit $code
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="a small disk needs root"
)
@pytest.mark.parametrize(
    ("verb", "size", "filled"), [("export", "16k", "16k"), ("import", "40k", "0")]
)
def test_a_full_disk_is_told_and_leaves_nothing(
    place: Place, tmp_path: Path, verb: str, size: str, filled: str
) -> None:
    file, small, toml = (tmp_path / name for name in ("chain.tar", "small", "small.toml"))
    place.run("chain", "export", str(file))
    small.mkdir()
    toml.write_text('[build]\ndir = "small"\nmachine = "vm"\n')
    words: dict[str, list[str | Path]] = {
        "export": ["export", small / "x.tar", "--spec", place.folder / "cube.toml"],
        "import": ["import", file, "--spec", toml],
    }
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            SMALL,
            "sh",
            size,
            filled,
            small,
            sys.executable,
            "-m",
            "cube",
            "chain",
            *words[verb],
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
    )
    assert done.returncode == HostError.exit_code, done.stderr
    assert "is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


# -- bisect


def test_bisect_without_layers_is_told(empty: Place) -> None:
    _, err = empty.run("bisect", "--machine", "vm", "--", "true", code=ChainError.exit_code)
    assert "no layers to search" in err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["a | b"], "a | b"),
        (["sh", "-c", "a b"], "sh -c 'a b'"),
        (["test", "-e", "/x"], "test -e /x"),
    ],
)
def test_one_word_is_a_line_for_the_shell(words: list[str], line: str) -> None:
    assert shell_line(words) == line


# -- damage from outside


@pytest.mark.parametrize("text", ["99\n", "", "1", "one", "\x00", "1" * 5000])
@pytest.mark.parametrize(
    "words",
    [
        ["chain"],
        ["chain", "show"],
        ["chain", "why", "base"],
        ["chain", "verify"],
        ["chain", "export", "x.tar"],
        ["chain", "prune", "--keep", "1"],
        ["chain", "prune", "--keep", "1", "--dry-run"],
        ["rollback", "base"],
        ["bisect", "--", "true"],
        ["up"],
    ],
)
def test_a_store_of_another_version_is_an_error_everywhere(
    place: Place, text: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.folder)
    (place.store.folder / "format").write_text(text)
    _, err = place.run(*words, code=ChainError.exit_code)
    assert f"this cube writes {keys.FORMAT}" in err
    assert "what to do: " in err
    assert not Path("x.tar").exists()


@pytest.mark.parametrize("record", [None, "{", "[" * 100_000, '{"name": ' + "9" * 5000 + "}"])
@pytest.mark.parametrize("words", [["export", "x.tar"], ["export", "x.tar", "--only"]])
def test_a_head_without_its_record_is_no_export_of_what_is_below(
    place: Place, record: str | None, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.folder)
    head = place.store.named("layer2")
    place.store.set_head(head)
    (head.folder / RECORD).unlink()
    if record is not None:
        (head.folder / RECORD).write_text(record)
    _, err = place.run("chain", *words, code=ChainError.exit_code)
    assert f"the head, {head.short}, is missing" in err
    assert not Path("x.tar").exists()
    place.run("chain", "export", "y.tar", "layer1")
    place.run("rollback", "layer1")
    place.run("chain", "export", "x.tar")


@pytest.mark.parametrize("part", ["", RECORD, "disk.qcow2"])
def test_a_link_that_is_kept_out_of_the_store_is_damaged(place: Place, part: str) -> None:
    link = place.store.named("layer2")
    path = link.folder / part if part else link.folder
    path.rename(place.folder / "out")
    path.symlink_to(place.folder / "out")
    out, err = place.run("chain", "verify", code=ChainError.exit_code)
    assert f"{link.folder.name}  damaged" in out
    assert "1 of 3 are damaged" in err or "2 of" in err


@pytest.mark.parametrize("made_before", [True, False])
def test_what_only_reads_works_on_a_medium_that_cannot_be_written(
    place: Place, monkeypatch: pytest.MonkeyPatch, made_before: bool
) -> None:
    lock_file = place.store.folder / ".reading"
    if made_before:
        lock_file.touch()
    opened = Path.open

    def refuse(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if path.is_relative_to(place.root) and set(mode) & set("wax+"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    place.run("chain")
    place.run("chain", "verify")
    place.run("chain", "export", str(place.folder / "x.tar"))
    assert lock_file.exists() is made_before


@pytest.mark.parametrize(
    ("file", "told"),
    [(".", "no file can have this name"), ("none/x.tar", "no file can have this name")],
)
def test_an_export_to_no_file_has_a_remedy(
    place: Place, monkeypatch: pytest.MonkeyPatch, file: str, told: str
) -> None:
    monkeypatch.chdir(place.folder)
    _, err = place.run("chain", "export", file, code=HostError.exit_code)
    assert told in err
    assert "what to do: " in err


@pytest.mark.parametrize("file", [".", "none.tar", "cube.toml"])
def test_an_import_of_no_chain_has_a_remedy(
    place: Place, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.chdir(place.folder)
    code = ChainError.exit_code if file == "cube.toml" else HostError.exit_code
    _, err = place.run("chain", "import", file, code=code)
    assert "what to do: " in err
