"""A box of apt's own below a folder: real apt-get, packages of nothing, a dpkg that only notes."""

import hashlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Everything below the folder, no lock of this machine's, no other user for downloads.
CONFIG = """\
Dir "{root}";
Dir::Bin::dpkg "{root}/dpkg";
Dir::Bin::methods "/usr/lib/apt/methods/";
Dir::Bin::solvers:: "/usr/lib/apt/solvers/";
Debug::NoLocking "true";
APT::Sandbox::User "root";
APT::Architecture "amd64";
APT::Architectures:: "amd64";
Acquire::Languages "none";
"""
DPKG = """#!/bin/sh
case "$*" in *--print-foreign*|*--assert*) exit 0 ;; esac
echo "$@" >>{root}/did
"""
FOLDERS = (
    "etc/apt/sources.list.d", "etc/apt/preferences.d", "etc/apt/apt.conf.d", "var/lib/dpkg",
    "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt", "archive",
)  # fmt: skip


@dataclass(frozen=True)
class AptBox:
    """The folder; `did` has a line for each call of dpkg that would have changed something."""

    root: Path

    @classmethod
    def make(cls, root: Path, installed: Sequence[str]) -> "AptBox":
        """Make a box with packages that it has, each in version 1."""
        for folder in FOLDERS:
            (root / folder).mkdir(parents=True)
        (root / "apt.conf").write_text(CONFIG.format(root=root))
        (root / "dpkg").write_text(DPKG.format(root=root))
        (root / "dpkg").chmod(0o755)
        stanzas = [f"{stanza(name)}Status: install ok installed\n" for name in installed]
        (root / "var/lib/dpkg/status").write_text("\n".join(stanzas))
        return cls(root)

    def offer(self, packages: Mapping[str, str]) -> None:
        """Let an archive have packages in version 2, with further fields of each."""
        texts = [self._package(name, fields) for name, fields in packages.items()]
        (self.root / "archive/Packages").write_text("\n".join(texts))
        self.source("own.list", f"deb [trusted=yes] file:{self.root}/archive ./\n")
        assert self.sh("apt-get update").returncode == 0

    def _package(self, name: str, fields: str) -> str:
        folder, file = self.root / "archive" / name, self.root / f"archive/{name}.deb"
        (folder / "DEBIAN").mkdir(parents=True)
        control = stanza(name, version="2") + fields
        (folder / "DEBIAN/control").write_text(control)
        subprocess.run(["dpkg-deb", "-Znone", "--build", folder, file], check=True,
                       capture_output=True)  # fmt: skip
        data = file.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        return f"{control}Filename: ./{name}.deb\nSize: {len(data)}\nSHA256: {digest}\n"

    def source(self, name: str, text: str) -> None:
        """Write a file of sources."""
        (self.root / "etc/apt/sources.list.d" / name).write_text(text)

    def sh(self, script: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a script of ours as it is, with this box in the place of the machine's own apt."""
        env = {"PATH": f"{self.root}/bin:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
        env["APT_CONFIG"] = str(self.root / "apt.conf")
        return subprocess.run(
            ["sh", "-c", script], input=stdin, env=env, capture_output=True, text=True, check=False
        )

    @property
    def did(self) -> str:
        """What dpkg was called for."""
        file = self.root / "did"
        return file.read_text() if file.exists() else ""


def stanza(name: str, *, version: str = "1") -> str:
    """Return the fields that every package has."""
    return (
        f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: Nobody <nobody@example.org>\nDescription: nothing\n"
    )
