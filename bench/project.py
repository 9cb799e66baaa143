"""A copy of the project in a folder of its own, where a benchmark may change and kill."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cube import config
from cube.chain.key.keys import link_name
from cube.chain.store.links import Store
from cube.config import Spec
from cube.config.workspace import Workspace
from cube.runtime import log, run
from cube.runtime.errors import CubeError
from cube.seal import manifest

#: The checkout that is measured.
SOURCE = Path(__file__).resolve().parents[1]
#: What a build does not need.
LEAVE = shutil.ignore_patterns("__pycache__", ".*", "build", "tests", "*.egg-info")
#: Appended to a role: it changes the source and nothing that the role does.
CHANGE = "\n#: Changed by the benchmark.\nBENCHMARK_{} = True\n"
#: The stages that make links; those after them judge and seal.
LINK_STAGES = (1, 2, 3)
#: Seconds for one build: several times what the slowest host needed.
BUILD_S = 4 * 3600.0
#: Seconds until a killed process is gone.
GONE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Built:
    """A build that succeeded: seconds from the command to its end, and what it said of itself."""

    seconds: float
    result: dict[str, Any]

    @property
    def reused(self) -> list[str]:
        """Names of the links that were there already."""
        return list(self.result["reused"])


@dataclass(frozen=True, kw_only=True)
class Project:
    """A copy; `spec` is that of its own cube.toml."""

    folder: Path
    spec: Spec

    @property
    def work(self) -> Workspace:
        """Its build folder."""
        return Workspace.of(self.spec)

    @property
    def store(self) -> Store:
        """Its links."""
        return Store(folder=self.work.chain)

    def take_over(self, build: Path) -> None:
        """Copy what an earlier build made, the folder of build.dir: its links and its image.

        Raises:
            CommandError: it is not there, or the disk is full.
        """
        self.work.root.parent.mkdir(parents=True)
        argv = ["cp", "--archive", "--reflink=auto", "--sparse=always"]
        run.run([*argv, build / self.spec.image.os, self.work.root], timeout_s=BUILD_S)

    def manifest(self) -> dict[str, Any]:
        """Return the manifest of its image."""
        return manifest.read(self.work.manifest)

    def skipped(self, layer: int) -> str:
        """Say why a layer is not in the chain that is there; empty when it is."""
        if layer in self.applied():
            return ""
        if layer not in self.spec.layers.enabled:
            return "not enabled in cube.toml"
        found = [link for link in self.store.links() if link.name == link_name(layer)]
        return found[-1].skipped if found else "it was never made"

    def applied(self) -> list[int]:
        """Return the numbers of the layers of the chain that is there."""
        return [link.layer.layer for link in self.store.current() if link.layer]

    def link_seconds(self) -> float:
        """Return what the newest build took until its last link was there."""
        stages = self.manifest()["stages"]
        return sum(float(one["seconds"]) for one in stages if one["number"] in LINK_STAGES)

    def full_seconds(self) -> float:
        """Return what the build took that made the image which is there, and all below it.

        Raises:
            CubeError: it reused something.
        """
        told = self.manifest()
        if reused := [one["name"] for one in told["links"] if one["reused"]]:
            raise CubeError(
                f"the build of this image reused {', '.join(reused)}: it was no full build",
                hint="take over one that was made with an empty store, or measure the case 'full'",
            )
        return float(told["seconds"])

    def argv(self, to: str = "") -> list[str]:
        """Return the command that builds, to the image or to a link."""
        file = str(self.folder / "cube.toml")
        argv = [sys.executable, "-m", "cube", "build", self.spec.image.os, "--json", "--spec", file]
        return [*argv, "--to", to] if to else argv

    def build(self, to: str = "") -> Built:
        """Run `cube build` to its end.

        Args:
            to: the link to end with; empty makes the image.

        Raises:
            CubeError: it failed.
        """
        lines: list[str] = []

        def on_line(line: str) -> None:
            lines.append(line)
            tell(line)

        started = time.monotonic()
        code = run.stream(
            self.argv(to), on_line=on_line, timeout_s=BUILD_S, cwd=self.folder,
            stop_with=signal.SIGINT,
        )  # fmt: skip
        return conclude(code, lines, time.monotonic() - started)

    def build_until_killed(self, layer: int) -> float:
        """Run `cube build` and kill it with SIGKILL when a layer's first operation has ended.

        Returns:
            Seconds until the kill.

        Raises:
            CubeError: it ended by itself before.
        """
        reached = threading.Event()

        def on_line(line: str) -> None:
            tell(line)
            if is_operation(line, layer):
                reached.set()

        started = time.monotonic()
        with run.spawn(self.argv(), on_line=on_line, cwd=self.folder) as process:
            while not reached.wait(run.TICK_S):
                if process.returncode is not None or time.monotonic() - started > BUILD_S:
                    raise CubeError(f"the build that was to be killed did not reach layer {layer}")
            os.kill(process.pid, signal.SIGKILL)
            process.wait(GONE_S)
        return time.monotonic() - started

    def touch(self, layer: int) -> Path:
        """Change one role of a layer so that it does the same as before.

        Returns:
            The role's file.

        Raises:
            CubeError: no role of this layer has a file.
        """
        folder = self.folder / "deploy" / "roles"
        paths = [folder / f"{role}.py" for role in self.spec.layers.roles(layer)]
        for path in filter(Path.is_file, paths):
            with path.open("a") as file:
                file.write(CHANGE.format(time.time_ns()))
            return path
        raise CubeError(f"layer {layer} has no role to change: {', '.join(map(str, paths))}")


def copy(
    folder: Path,
    file: Path,
    *,
    image: str = "",
    source: Path = SOURCE,
    rewrite: Callable[[str], str] = str,
) -> Project:
    """Copy the project.

    Args:
        folder: made anew.
        file: the cube.toml to use.
        image: its `image.os`, if another.
        source: what is copied.
        rewrite: what to make of the text of cube.toml.

    Raises:
        CubeError: builds would go to a folder outside of the copy.
    """
    shutil.copytree(source, folder, ignore=LEAVE)
    (folder / "cube.toml").write_text(rewrite(file.read_text()))
    loaded = config.load(folder / "cube.toml", os=image)
    if not loaded.build.dir.is_relative_to(folder.resolve()):
        raise CubeError(
            f"{file}: build.dir is {loaded.build.dir}, which is not inside of the copy",
            hint='give --spec a cube.toml with build.dir = "build"',
        )
    return Project(folder=folder, spec=loaded)


def conclude(code: int, lines: Sequence[str], seconds: float) -> Built:
    """Believe a build only what it says of itself in the end.

    Raises:
        CubeError: it failed, or does not say that it succeeded.
    """
    told = [record for record in map(parse, lines) if record]
    results = [record for record in told if record["kind"] == "result"]
    if code == 0 and results:
        return Built(seconds=seconds, result=results[-1])
    errors = [record["text"] for record in told if record["kind"] == "error"]
    raise CubeError(
        f"cube build ended with {code}: {errors[-1] if errors else 'it said no more'}",
        details=run.tail("\n".join(lines)),
    )


def parse(line: str) -> dict[str, Any]:
    """Return a record of `cube build --json`; empty for a line that is none."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) and "kind" in record else {}


def is_operation(line: str, layer: int) -> bool:
    """Tell an operation of a layer that has ended."""
    record = parse(line)
    return record.get("kind") == "operation" and record.get("layer") == layer


def tell(line: str) -> None:
    """Pass on what a build does now."""
    record = parse(line)
    if record.get("kind") == "step":
        log.status(record["text"])


def below(applied: Iterable[int], layer: int) -> list[str]:
    """Return the names of the links that stand below a layer's."""
    return ["base", *(f"layer{number}" for number in sorted(applied) if number < layer)]
