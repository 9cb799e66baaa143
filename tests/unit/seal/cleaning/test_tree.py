"""Files are found and removed inside the root, whatever its links say."""

from pathlib import Path

import pytest

from cube.seal.cleaning.tree import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A root with a link that leads out of it, beside a folder of this machine."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("this machine's")
    root = tmp_path / "root"
    for name in ("etc", "var/log/journal", "srv"):
        (root / name).mkdir(parents=True)
    for name in ("etc/a.conf", "etc/.hidden", "var/log/journal/x", "srv/file"):
        (root / name).write_text(name)
    (root / "absolute").symlink_to(tmp_path / "outside")
    (root / "above").symlink_to("../outside")
    (root / "logs").symlink_to("/var/log")
    return Tree(root)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("etc/a.conf", "etc/a.conf"),
        ("logs/journal", "var/log/journal"),
        ("../etc", "etc"),
        ("above/secret", "outside/secret"),
        ("logs", "logs"),
    ],
)
def test_a_name_stays_below_the_root(tree: Tree, name: str, where: str) -> None:
    assert tree.path(name) == tree.root / where


def test_a_link_at_the_end_is_followed_when_asked(tree: Tree) -> None:
    assert tree.path("logs", follow=True) == tree.root / "var/log"


def test_a_loop_of_links_is_refused(tree: Tree) -> None:
    (tree.root / "one").symlink_to("two")
    (tree.root / "two").symlink_to("one")
    with pytest.raises(OSError, match="too many symbolic links"):
        tree.path("one/file")


def test_nothing_outside_is_removed(tree: Tree, tmp_path: Path) -> None:
    tree.remove("absolute/*", "above/*", "absolute/secret")
    assert (tmp_path / "outside/secret").exists()
    tree.remove("absolute", "above")
    assert (tmp_path / "outside/secret").exists()
    assert not (tree.root / "above").is_symlink()


def test_nothing_outside_is_written(tree: Tree, tmp_path: Path) -> None:
    (tree.root / "etc/machine-id").symlink_to(tmp_path / "outside/secret")
    tree.write("etc/machine-id", "")
    assert (tmp_path / "outside/secret").read_text() == "this machine's"


def test_a_pattern_finds_dots_and_links_of_folders(tree: Tree) -> None:
    assert [tree.name(path) for path in tree.find("etc/*")] == ["/etc/.hidden", "/etc/a.conf"]
    assert [tree.name(path) for path in tree.find("logs/*/x")] == ["/var/log/journal/x"]


def test_what_is_not_there_is_no_error(tree: Tree) -> None:
    tree.remove("no/such/file", "etc/a.conf/below", "etc/a.conf", "etc/a.conf")
    tree.empty("no/folder")
    assert list(tree.files("no/folder")) == []
    assert tree.read("no/file") == ""


def test_a_folder_is_emptied_and_stays(tree: Tree) -> None:
    tree.empty("var/log")
    assert list((tree.root / "var/log").iterdir()) == []


def test_a_written_file_keeps_its_mode(tree: Tree) -> None:
    (tree.root / "etc/a.conf").chmod(0o640)
    tree.write("etc/a.conf", "new")
    assert (tree.root / "etc/a.conf").stat().st_mode & 0o777 == 0o640
