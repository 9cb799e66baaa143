"""A copy of the project in a folder of its own, where a benchmark may change and kill."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.timing import PROJECT, Timing, timed
from cube import config
from cube.chain.store.links import Store
from cube.config import Spec, link_name
from cube.config.workspace import Workspace
from cube.runtime import run
from cube.runtime.errors import CubeError

#: What a build does not need: anywhere, and in the project's own folder. cube/build it needs.
LEAVE = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
LEAVE_AT_THE_TOP = {"build", "tests"}
#: Appended to a role: it changes the source and nothing that the role does.
CHANGE = "\n#: Changed by the benchmark.\nBENCHMARK_{} = True\n"
#: Seconds for one build, several times what the slowest host needed; until a killed one is gone.
BUILD_S, GONE_S = 4 * 3600.0, 30.0


@dataclass(frozen=True, kw_only=True)
class Project:
    """A copy; `spec` is that of its own cube.toml."""

    folder: Path
    spec: Spec

    @property
    def store(self) -> Store:
        """Its links."""
        return Store(folder=Workspace.of(self.spec).chain)

    def names(self) -> list[str]:
        """Return the names of the links of the chain that is there, base first."""
        return [link.name for link in self.store.current()]

    def below(self, layer: int) -> list[str]:
        """Return the names of the links below a layer's, which is there."""
        return self.names()[: self.names().index(link_name(layer))]

    def skipped(self, layer: int) -> str:
        """Return why a layer is not in the chain that is there; empty when it is."""
        if (name := link_name(layer)) in self.names():
            return ""
        found = [link.skipped for link in self.store.links() if link.name == name]
        return found[-1] if found else "it is not enabled in cube.toml, or was never made"

    def argv(self, to: str) -> list[str]:
        """Return the command that builds to a link; empty: the last that cube.toml asks for."""
        to = to or link_name(self.spec.layers.enabled[-1])
        argv = [sys.executable, "-m", "cube", "build", self.spec.image.os, "--json", "--to", to]
        return [*argv, "--spec", str(self.folder / "cube.toml")]

    def build(self, to: str = "", *, reusing: Sequence[str] | None = None) -> Timing:
        """Run `cube build` to a link, empty for the last one; refuse it if it reused others."""
        done = timed(self.argv(to), cwd=self.folder, limit_s=BUILD_S)
        results = [one for one in map(parse, done.output.splitlines()) if one["kind"] == "result"]
        if not results:
            raise CubeError("cube build printed no result", details=run.tail(done.output))
        if reusing is not None and results[-1]["reused"] != list(reusing):
            raise CubeError(f"the build reused {results[-1]['reused']}, expected was {reusing}")
        return done

    def build_until_killed(self, layer: int) -> float:
        """Kill `cube build` when a layer's first operation has ended; return seconds until then."""
        reached = threading.Event()

        def on_line(line: str) -> None:
            record = parse(line)
            if record["kind"] == "operation" and record.get("layer") == layer:
                reached.set()

        started = time.monotonic()
        with run.spawn(self.argv(link_name(layer)), on_line=on_line, cwd=self.folder) as process:
            while not reached.wait(run.TICK_S):
                if process.returncode is not None or time.monotonic() - started > BUILD_S:
                    raise CubeError(f"the build that was to be killed did not reach layer {layer}")
            os.kill(process.pid, signal.SIGKILL)
            process.wait(GONE_S)
        return time.monotonic() - started

    def touch(self, layer: int) -> Path:
        """Change one role of a layer so that it does the same as before; return its file."""
        folder = self.folder / "deploy/roles"
        paths = [folder / f"{role}.py" for role in self.spec.layers.roles(layer)]
        for path in filter(Path.is_file, paths):
            with path.open("a") as file:
                file.write(CHANGE.format(time.time_ns()))
            return path
        raise CubeError(f"layer {layer} has no role to change: {', '.join(map(str, paths))}")


def copy_sources(source: Path, folder: Path) -> Path:
    """Copy what a build runs to a new folder, and return that."""

    def leave(place: str, names: list[str]) -> set[str]:
        top = LEAVE_AT_THE_TOP if Path(place) == source else set()
        return LEAVE(place, names) | (top & set(names))

    return Path(shutil.copytree(source, folder, ignore=leave))


def copy(folder: Path, file: Path, *, image: str = "", source: Path = PROJECT) -> Project:
    """Copy the project to a new folder, with another cube.toml and image.os."""
    copy_sources(source, folder)
    shutil.copy(file, folder / "cube.toml")
    loaded = config.load(folder / "cube.toml", os=image)
    if not loaded.build.dir.is_relative_to(folder.resolve()):
        raise CubeError(
            f"{file}: build.dir is {loaded.build.dir}, which is not inside of the copy",
            hint='give --spec a cube.toml with build.dir = "build"',
        )
    return Project(folder=folder, spec=loaded)


def parse(line: str) -> dict[str, Any]:
    """Return a record of `cube build --json`; without a kind for a line that is none."""
    try:
        return {"kind": "", **json.loads(line)}
    except (ValueError, TypeError):
        return {"kind": ""}
