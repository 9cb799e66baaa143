"""The build account leaves every account file, and nobody else does."""

import shutil
from pathlib import Path

import pytest

from cube.runtime.run import run
from cube.seal.cleaning.accounts import remove_account

from .conftest import Folder

FILES = {
    "etc/passwd": "root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n"
    "cube-build:x:60600:60600::/home/cube-build:/bin/sh\n",
    "etc/shadow": "root:*:1::::::\nada:!:1::::::\ncube-build:!:1::::::\n",
    "etc/group": "root:x:0:\nsudo:x:27:ada,cube-build\ndocker:x:99:cube-build\n"
    "ada:x:1000:\ncube-build:x:60600:\n",
    "etc/gshadow": "root:*::\nsudo:*:cube-build:ada,cube-build\nada:!::\ncube-build:!::\n",
    "etc/subuid": "ada:100000:65536\ncube-build:165536:65536\n",
    "etc/subgid": "ada:100000:65536\ncube-build:165536:65536\n",
}


@pytest.fixture
def files(image: Folder) -> Folder:
    for name, text in FILES.items():
        image.plant(name, text=text)
    return image


def test_an_account_is_in_no_file_afterwards(files: Folder) -> None:
    remove_account(files.tree, "cube-build")
    texts = {name: files.tree.read(name) for name in FILES}
    assert [name for name, text in texts.items() if "cube-build" in text] == []
    assert texts["etc/group"] == "root:x:0:\nsudo:x:27:ada\ndocker:x:99:\nada:x:1000:\n"
    assert texts["etc/gshadow"] == "root:*::\nsudo:*::ada\nada:!::\n"
    assert texts["etc/subuid"] == "ada:100000:65536\n"


def test_a_group_that_another_account_uses_stays(files: Folder) -> None:
    files.plant("etc/group", text="cube-build:x:60600:ada,cube-build\n")
    remove_account(files.tree, "cube-build")
    assert files.tree.read("etc/group") == "cube-build:x:60600:ada\n"


def test_nothing_happens_without_the_account(files: Folder) -> None:
    remove_account(files.tree, "nobody-else")
    assert {name: files.tree.read(name) for name in FILES} == FILES


@pytest.mark.skipif(shutil.which("userdel") is None, reason="userdel is not installed")
def test_userdel_would_do_the_same(files: Folder, tmp_path: Path) -> None:
    files.plant("etc/login.defs", text="USERGROUPS_ENAB yes\n")
    other = tmp_path / "other"
    shutil.copytree(files.root, other)
    done = run(["userdel", "--force", "--prefix", other, "cube-build"], accept=range(256))
    if done.returncode != 0:
        pytest.skip(f"userdel --prefix does not work here: {done.stderr}")
    remove_account(files.tree, "cube-build")
    for name in FILES:
        if name != "etc/gshadow":  # userdel leaves administrators of a group: gpasswd -A
            assert files.tree.read(name) == (other / name).read_text(), name
