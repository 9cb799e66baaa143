"""What a build that succeeded leaves behind, for people and for programs."""

from collections.abc import Sequence
from dataclasses import dataclass

from cube.config.workspace import Workspace
from cube.runtime import units


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a build that succeeded leaves behind.

    Args:
        workspace: where.
        seconds: how long it took.
        verdict: what is to be said of the image, or of the links.
        made: False when all was there already.
        sealed: False when the build was to end with a link.
        reused: names of what an earlier build had made.
        saved_seconds: the time that this had taken.
    """

    workspace: Workspace
    seconds: float
    verdict: str
    made: bool = True
    sealed: bool = True
    reused: Sequence[str] = ()
    saved_seconds: float = 0.0

    def as_json(self) -> dict[str, object]:
        """Return it for a program."""
        image = ("artifact", "checksum", "manifest", "report") if self.sealed else ()
        names = (*image, "log", "timeline")
        paths = {name: str(getattr(self.workspace, name)) for name in names}
        told = {"seconds": round(self.seconds, 1), "verdict": self.verdict, "made": self.made}
        saved = {"reused": list(self.reused), "saved_seconds": round(self.saved_seconds, 1)}
        return {**paths, **told, **saved}

    def summary(self) -> str:
        """Return it for a person."""
        rows = [f"  {name:9} {path}" for name, path in self.as_json().items() if "/" in str(path)]
        how = self.verdict if self.made else f"{self.verdict} and up to date, nothing was made"
        took = units.duration(self.seconds)
        return "\n".join([f"{self.workspace.name} is {how} ({took})", *rows, self.saved()])

    def saved(self) -> str:
        """Say what the chain saved, in one line."""
        if not self.reused:
            return "  saved     nothing: there was nothing to reuse"
        saved = units.duration(self.saved_seconds)
        return f"  saved     {saved}: {', '.join(self.reused)} reused"
