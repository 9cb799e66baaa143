"""A signed package archive of stand-ins for NVIDIA's packages, where NVIDIA's own is out of reach.

The packages have the names, versions and dependencies of NVIDIA's, and little in them. Each says
in its description that it stands in, and leaves a file in /usr/share/cube/stand-ins: checks on
such a machine are reported as `simulated`.

    key = Key.make(folder / "gnupg")
    archive = Archive(folder / "toolkit", key)
    archive.publish(toolkit("1.20.0"))         # InRelease, Packages and *.deb, in archive.folder
    archive.damage("libnvidia-container1")     # apt must refuse it
"""

import hashlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: Where a package says that it stands in; `checks/platform.py` looks there.
MARKS = "usr/share/cube/stand-ins"


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package that stands in for another.

    Args:
        name: as NVIDIA's.
        version: with revision.
        depends: as in a control file.
        files: by absolute path; what lies in a folder for programs may be run.
        architecture: "amd64" or "all".
    """

    name: str
    version: str
    depends: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    architecture: str = "amd64"

    @property
    def file(self) -> str:
        """Return the name of its file."""
        return f"{self.name}_{self.version}_{self.architecture}.deb"

    def build(self, folder: Path) -> Path:
        """Make the package with dpkg-deb."""
        tree = folder / "tree" / self.name
        for path, text in {**self.files, f"/{MARKS}/{self.name}": f"{self.version}\n"}.items():
            place = tree / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
            place.chmod(0o755 if "/bin/" in path else 0o644)
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/control").write_text(self.control())
        target = folder / self.file
        run("dpkg-deb", "--build", "--root-owner-group", str(tree), str(target))
        run("rm", "-r", str(tree))
        return target

    def control(self) -> str:
        """Return its control file."""
        fields = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": self.architecture,
            "Maintainer": "Vault Cube <nobody@example.org>",
            "Depends": self.depends,
            "Description": f"stands in for {self.name} in a test",
        }
        return "".join(f"{key}: {value}\n" for key, value in fields.items() if value)


def run(*argv: str, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        argv, check=False, capture_output=True, text=True, env={**os.environ, **(env or {})}
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Key:
    """A signing key in a home of its own."""

    home: Path
    fingerprint: str

    @classmethod
    def make(cls, home: Path) -> "Key":
        """Make one without a passphrase."""
        home.mkdir(mode=0o700)
        options = ("--batch", "--passphrase", "", "--quick-generate-key")
        run("gpg", "--homedir", str(home), *options, "stand-in <nobody@example.org>", "rsa3072")
        listed = run("gpg", "--homedir", str(home), "--list-keys", "--with-colons")
        prints = [line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr")]
        return cls(home, prints[0])

    def export(self) -> str:
        """Return the public half."""
        return run("gpg", "--homedir", str(self.home), "--armor", "--export")

    def sign(self, text: Path, target: Path) -> None:
        """Sign a file in clear."""
        target.unlink(missing_ok=True)
        run(
            "gpg",
            "--homedir",
            str(self.home),
            "--batch",
            "--clearsign",
            "-o",
            str(target),
            str(text),
        )

    def close(self) -> None:
        """End the agent that gpg started for this home."""
        run("gpgconf", "--homedir", str(self.home), "--kill", "all")


@dataclass(frozen=True)
class Archive:
    """A flat package archive in a folder, signed with a key."""

    folder: Path
    key: Key

    def publish(self, packages: Sequence[Package]) -> None:
        """Make the packages, their index and its signature anew."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob("*.deb"):
            old.unlink()
        entries = [entry(package, package.build(self.folder)) for package in packages]
        (self.folder / "Packages").write_text("\n".join(entries))
        self.sign()

    def sign(self) -> None:
        """Sign what the index says now."""
        index = (self.folder / "Packages").read_bytes()
        release = self.folder / "Release"
        release.write_text(
            "Origin: stand-in\nLabel: stand-in\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n"
            f"SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
        )
        self.key.sign(release, self.folder / "InRelease")

    def lose(self, name: str) -> None:
        """Remove a package's file; the index goes on to name it."""
        for file in self.folder.glob(f"{name}_*.deb"):
            file.unlink()

    def damage(self, name: str) -> None:
        """Change one byte of a package's file."""
        for file in self.folder.glob(f"{name}_*.deb"):
            data = bytearray(file.read_bytes())
            data[-1] ^= 1
            file.write_bytes(data)


def entry(package: Package, file: Path) -> str:
    """Return a package's stanza in the index. Source: Debian repository format, "Packages"."""
    data = file.read_bytes()
    more = (
        f"Filename: ./{file.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
    )
    return package.control() + more


#: A program that prints its version, as nvidia-ctk does, and knows `cdi generate`.
CTK = """\
#!/bin/sh
case "$*" in
  --version) echo "NVIDIA Container Toolkit CLI version VERSION (stand-in)" ;;
  "cdi generate"*) echo "no GPU: a stand-in describes none" >&2; exit 1 ;;
  *) echo "stand-in: unknown: $*" >&2; exit 2 ;;
esac
"""
RUNTIME = '#!/bin/sh\nexec runc "$@"\n'
#: Source: nvidia-container-toolkit, deployments/systemd/nvidia-cdi-refresh.{service,path}.
REFRESH = """\
[Unit]
Description=Refresh NVIDIA CDI specification file (stand-in)

[Service]
Type=oneshot
ExecStart=/usr/bin/nvidia-ctk cdi generate

[Install]
WantedBy=multi-user.target
"""
REFRESH_PATH = """\
[Unit]
Description=Trigger the refresh of the NVIDIA CDI specification (stand-in)

[Path]
PathChanged=/usr/bin/nvidia-ctk

[Install]
WantedBy=multi-user.target
"""


def toolkit(version: str) -> list[Package]:
    """Return the container toolkit, "1.20.0". Source: its debian/control."""
    full = f"{version}-1"
    units = "/usr/lib/systemd/system/nvidia-cdi-refresh"
    return [
        Package(name="libnvidia-container1", version=full),
        Package(
            name="libnvidia-container-tools",
            version=full,
            depends=f"libnvidia-container1 (>= {full})",
        ),
        Package(
            name="nvidia-container-toolkit-base",
            version=full,
            files={
                "/usr/bin/nvidia-ctk": CTK.replace("VERSION", version),
                "/usr/bin/nvidia-container-runtime": RUNTIME,
                f"{units}.service": REFRESH,
                f"{units}.path": REFRESH_PATH,
            },
        ),
        Package(
            name="nvidia-container-toolkit",
            version=full,
            depends=f"nvidia-container-toolkit-base (= {full}), "
            f"libnvidia-container-tools (>= {full})",
        ),
    ]
