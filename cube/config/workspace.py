"""Where a build keeps its files."""

from dataclasses import dataclass
from pathlib import Path

from cube.config import Spec


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """The build folder of one image.

    `root` holds what a build hands over: the artifact, its checksum, manifest, log and
    report, each put there whole. `work` holds what it needs on the way.
    """

    root: Path
    name: str

    @classmethod
    def of(cls, spec: Spec) -> "Workspace":
        """Return the build folder that a specification names; nothing is made on disk."""
        image = spec.image
        return cls(root=spec.build.dir / image.os, name=f"{image.name}-{image.os}")

    @property
    def artifact(self) -> Path:
        """The sealed image."""
        return self.root / f"{self.name}.qcow2"

    @property
    def checksum(self) -> Path:
        """The image's checksum, as sha256sum(1) writes and reads it."""
        return self.root / f"{self.name}.qcow2.sha256"

    @property
    def manifest(self) -> Path:
        """What the image is; written last, so its presence says that the build succeeded."""
        return self.root / "manifest.json"

    @property
    def report(self) -> Path:
        """The manifest for people, one HTML file."""
        return self.root / "report.html"

    @property
    def failure(self) -> Path:
        """How far the last build came that failed, one HTML file."""
        return self.work / "failure.html"

    @property
    def log(self) -> Path:
        """Everything that was done."""
        return self.root / "build.log"

    @property
    def timeline(self) -> Path:
        """When it was done and how long it took; see cube.build.trace."""
        return self.root / "timeline.json"

    @property
    def work(self) -> Path:
        """Scratch of the running build."""
        return self.root / "work"

    @property
    def chain(self) -> Path:
        """The links of the layer chain; see cube.chain.store.links."""
        return self.root / "chain"

    @property
    def machines(self) -> Path:
        """One folder a machine that is up."""
        return self.work / "machines"

    @property
    def results(self) -> Path:
        """What pyinfra and pytest report."""
        return self.work / "results"

    @property
    def secrets(self) -> Path:
        """Keys of the running build; mode 700."""
        return self.work / "secrets"

    @property
    def build_key(self) -> Path:
        """The private key that machines of this build let in."""
        return self.secrets / "build_key"

    @property
    def cache(self) -> Path:
        """Downloads that outlive a build, shared by all images."""
        return self.root.parent / "cache"
