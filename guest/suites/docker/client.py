"""Docker's client: containers of one image, which are removed at the end."""

import os
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from guest.checking import program
from guest.checking.program import Answer

#: How a container asks for all GPUs. Source: NVIDIA Container Toolkit, "Running a Sample Workload"
#: and "Support for Container Device Interface".
WAYS = {
    "GPUs by --gpus": ["--gpus", "all"],
    "GPUs by CDI": ["--device", "nvidia.com/gpu=all"],
    "GPUs by the nvidia runtime": [
        "--runtime", "nvidia", "--env", "NVIDIA_VISIBLE_DEVICES=all",
        "--env", "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    ],
}  # fmt: skip
#: Limits that any machine grants, a container's host among them.
MODEST = ["--ulimit", "memlock=65536", "--ulimit", "nofile=1024"]
#: What lends a container the box's own system. The toolkit's hooks write links into /usr: they get
#: a layer over it, which goes away.
LENT = ["--volume", "/etc/alternatives:/etc/alternatives:ro"]


@dataclass(kw_only=True)
class Docker:
    """Runs containers of one image, and removes what it started."""

    limit_s: float
    image: str = ""
    layer: Path | None = None
    started: list[str] = field(default_factory=list)

    def ask(self, *arguments: str) -> Answer:
        """Run the client."""
        return program.ask("docker", *arguments, limit_s=self.limit_s)

    def options(self, *more: str) -> list[str]:
        """Return the options of a container."""
        lent = [*LENT, "--volume", f"{self.image}:/usr:nocopy"] if self.layer else []
        return [*MODEST, *lent, "--network", "none", *more]

    def lend_usr(self) -> Answer:
        """Make the volume with the box's own /usr and an empty layer over it.

        Source: docker volume create, "Driver-specific options": what mount(8) takes.
        """
        self.layer = Path(tempfile.mkdtemp(prefix="cube-suite-"))
        upper, work = self.layer / "upper", self.layer / "work"
        upper.mkdir(mode=0o755)
        work.mkdir()
        return self.ask(
            "volume",
            "create",
            "--driver",
            "local",
            "--opt",
            "type=overlay",
            "--opt",
            "device=overlay",
            self.image,
            "--opt",
            f"o=lowerdir=/usr,upperdir={upper},workdir={work}",
        )

    def run(self, *command: str, how: tuple[str, ...] = ()) -> Answer:
        """Run a command in a container that goes away."""
        name = self.name()
        options = ["--rm", "--name", name, *self.options(*how)]
        return self.ask("run", *options, self.image, *command)

    def start(self, *how: str) -> tuple[str, Answer]:
        """Start a container that stays; return its name."""
        name = self.name()
        options = ["--detach", "--name", name, *self.options(*how)]
        return name, self.ask("run", *options, self.image, "sleep", "600")

    def name(self) -> str:
        """Return a name that nobody else has."""
        self.started.append(f"cube-suite-{os.getpid()}-{len(self.started)}")
        return self.started[-1]

    def clean(self) -> None:
        """Remove the containers, and the image that was made."""
        if self.started:
            self.ask("rm", "--force", "--volumes", *self.started)
        if self.layer:
            self.ask("volume", "rm", "--force", self.image)
            self.ask("image", "rm", "--force", self.image)
            shutil.rmtree(self.layer, ignore_errors=True)


def uuids(answer: Answer) -> list[str]:
    """Return the GPUs that `nvidia-smi -L` lists, whatever it says of one of them beside."""
    return sorted(re.findall(r"UUID: (GPU-[\w-]+)", answer.text))
