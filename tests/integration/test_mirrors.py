"""Mirrors with logins, for real: packages come from them, and no image tells of them."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from cube import config
from cube.baseimage.debian import bootstrap
from cube.config import mirrors
from cube.machines import Machine, ssh
from cube.provision import pyinfra_run
from cube.runtime import log
from cube.runtime.errors import PackerError
from tests.integration.index import HOST
from tests.integration.mirror import FOLDERS, PASSWORD, USER, Mirror, mirrored
from tests.integration.test_layers import started

RELEASES = ("/a&b/debian/dists/trixie/InRelease", "/updates&1/dists/trixie-security/InRelease")

#: The password as apt reads it, and as a URL has it.
SECRETS = (PASSWORD, quote(PASSWORD, safe=""))
#: What the seal removes besides.
LISTS = "/var/lib/apt/lists/* /var/log/* /var/cache/apt/*"

#: What layer 1 does to apt before anything else, and a package.
SET_UP = """
from pyinfra.api import deploy
from deploy.runner.data import read
from deploy.operations import apt
from deploy.roles.common import Common, set_up_apt

@deploy("Sources")
def sources():
    set_up_apt(read(Common))
    apt.refresh(name="Fetch package lists")
    apt.install(name="Install", packages=("figlet",))

sources()
"""
#: Reads the sources that the image will have.
OWN = "find /etc/apt/sources.list* -type f -exec cat {} +"
#: The words of `remove_build_trust` in cube/seal/clean.sh.
SEAL = "find /etc -xdev -depth -name '*cube-build*' -exec rm -rf {} +"


@pytest.fixture(scope="module")
def mirror() -> Iterator[Mirror]:
    with mirrored() as found:
        yield found


def remains(folder: Path, words: list[bytes]) -> list[str]:
    """Name the files below a folder that hold a word."""
    files = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    return [str(file) for file in files if any(word in file.read_bytes() for word in words)]


def test_debian_is_bootstrapped_from_mirrors_and_does_not_tell(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "PACKAGES", ("systemd-sysv",))
    monkeypatch.setattr(bootstrap, "KERNELS", {"generic": "ca-certificates"})
    found = config.load_text(f"[network]\n{mirror.network('127.0.0.1')}", tmp_path / "cube.toml")
    tree = tmp_path / "it's a folder" / "tree"
    heard: list[log.Event] = []
    with log.listening(heard.append):
        bootstrap.make_tree(found, tree)
    bootstrap.finish_tree(found, tree)
    bootstrap.keep_units(tree)
    assert [one for one in RELEASES if not mirror.asked(one)] == []
    words = [f":{mirror.port}", *SECRETS]
    assert remains(tree, [word.encode() for word in words]) == []
    told = "\n".join(event.text for event in heard)
    assert [word for word in SECRETS if word in told] == []
    assert (
        "enable getty@.service" in (tree / "etc/systemd/system-preset/00-cube.preset").read_text()
    )


def test_a_login_that_is_refused_is_told_without_it(tmp_path: Path, mirror: Mirror) -> None:
    network = mirror.network("127.0.0.1").replace("build:", "builder:")
    found = config.load_text(f"[network]\n{network}", tmp_path / "cube.toml")
    with pytest.raises(PackerError, match=f"from http://127.0.0.1:{mirror.port}/") as no:
        bootstrap.make_tree(found, tmp_path / "tree")
    assert "401" in no.value.details
    assert "builder" not in f"{no.value.message}{no.value.details}"


def test_a_machine_takes_packages_from_mirrors_until_it_is_sealed(
    mirror: Mirror, base_disk: Path, key_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "cube.toml").write_text(f"[network]\n{mirror.network(HOST)}")
    (tmp_path / "set_up.py").write_text(SET_UP)
    loaded = config.load(tmp_path / "cube.toml")
    mirror.paths.clear()
    with started(tmp_path, base_disk, key_file) as machine:
        before = sh(machine, OWN)
        set_up(machine, loaded, tmp_path)
        sh(machine, "touch /run/set-up")
        set_up(machine, loaded, tmp_path)
        assert sh(machine, "find /etc/apt -newer /run/set-up") == ""
        assert [one for one in (*RELEASES, ".deb") if not mirror.asked(one)] == []
        places = sh(machine, "apt-get indextargets --format '$(SITE)' | sort -u").split()
        assert places == [f"http://{HOST}:{mirror.port}{folder.rstrip('/')}" for folder in FOLDERS]
        assert sh(machine, OWN) == before
        sh(machine, f"{SEAL}; apt-get clean; rm -rf {LISTS}")
        said = "|".join(mirrors.remains(loaded))
        assert sh(machine, f"grep -rlE '{said}' /etc /root /home /usr/local /var || true") == ""
        assert USER in said


def sh(machine: Machine, command: str) -> str:
    """Run a command as root."""
    return ssh.execute(machine.endpoint, f"sudo sh -c {shlex.quote(command)}").stdout


def set_up(machine: Machine, loaded: config.Spec, folder: Path) -> None:
    """Set apt up as layer 1 does; the login is in no log of it."""
    with pyinfra_run.described(machine, loaded, keys={}, building=True) as (scratch, env):
        argv = ["inventory.py", str(folder / "set_up.py")]
        code, journal = pyinfra_run.run_pyinfra(argv, env, scratch, timeout_s=600)
        told = journal.file.read_text() + journal.tail()
    assert code == 0, told
    assert [word for word in SECRETS if word in told] == []
