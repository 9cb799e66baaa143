#!/usr/bin/python3 -IB
"""Prove GPUs in Docker's containers on this box: --gpus, CDI, the nvidia runtime, sharing.

Installed as /usr/local/lib/cube/test_docker_gpu.py; test-docker-gpu.sh starts it. Without an
image an image of links is made: the box's own /usr, lent to the container, is its system.
"""

import argparse
import concurrent.futures
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, os.environ.get("CUBE_LIB", "/usr/local/lib/cube"))  # python3 -I leaves it out

from suite_process import last_line, say
from suite_report import (
    ROOT,
    CannotRun,
    NotRun,
    Report,
    conduct,
    count_gpus,
    is_simulated,
    make_parser,
    positive,
)

NAMES = (
    "daemon answers", "image", "container runs", "nvidia runtime registered",
    "nvidia runtime runs", "GPUs by --gpus", "GPUs by CDI", "GPUs by the nvidia runtime",
    "GPUs shared", "container survives daemon-reload", "GPU container survives daemon-reload",
)  # fmt: skip
DEFERRED = "deferred: there is no NVIDIA GPU on this machine"

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
LINKS = ("bin", "sbin", "lib", "lib64")
#: Calculates on every GPU that a container sees. The sum of 2^20 ones is exact in float32.
CALCULATE = (
    "import torch; n = torch.cuda.device_count();"
    " sums = [torch.ones(1 << 20, device=i).sum().item() for i in range(n)];"
    " print(n, sums.count(1 << 20))"
)
LIMIT_S = 60


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a program said; `code` is None when it did not end in time."""

    code: int | None
    out: str
    err: str

    @property
    def fault(self) -> str:
        """What went wrong, in one line."""
        if self.code is None:
            return "no answer within the limit"
        return f"exit code {self.code}: {last_line(self.err or self.out)}"


def run(*argv: str, limit_s: float = LIMIT_S, stdin: bytes | None = None) -> Answer:
    """Run a program to its end or its limit."""
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(code=None, out="", err="")
    except OSError as error:
        return Answer(code=127, out="", err=f"{argv[0]}: {error.strerror}")
    out, err = (text.decode(errors="replace").strip() for text in (done.stdout, done.stderr))
    return Answer(code=done.returncode, out=out, err=err)


@dataclass(kw_only=True)
class Docker:
    """Runs containers of one image, and removes what it started."""

    limit_s: float
    image: str = ""
    layer: Path | None = None
    started: list[str] = field(default_factory=list)

    def ask(self, *arguments: str, stdin: bytes | None = None) -> Answer:
        """Run the client."""
        return run("docker", *arguments, limit_s=self.limit_s, stdin=stdin)

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


def make_archive() -> bytes:
    """Return the archive of an image of links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("usr", "etc", "tmp", "proc", "sys", "dev", "opt"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            archive.addfile(entry)
        for link in LINKS:
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{link}"
            archive.addfile(entry)
    return buffer.getvalue()


def choose_image(report: Report, docker: Docker, given: str | None) -> None:
    """Take the image that is given, or one of CUDA that is there, or make one.

    Raises:
        Stop: the image is not there, or cannot be made.
    """
    if given:
        docker.image = given
        found = docker.ask("image", "inspect", "--format", "{{.Id}}", given)
        hint = f"{given} is not on this box: docker pull {given}"
        told = f"{given}, {found.out[:19]}"
        report.need(found.code == 0, "image", told if found.code == 0 else hint)
        return
    listed = docker.ask("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "nvidia/cuda").out
    local = [line for line in listed.splitlines() if not line.endswith(":<none>")]
    if local:
        docker.image = local[0]
        report.judge(True, "image", f"{docker.image}, found on this box")
        return
    docker.image = f"cube-suite-{os.getpid()}"
    made = docker.lend_usr()
    if made.code == 0:
        made = docker.ask("import", "-", docker.image, stdin=make_archive())
    told = "made of links into the box's own /usr"
    report.need(made.code == 0, "image", told if made.code == 0 else made.fault)


# -- what is judged


def judge_daemon(report: Report, docker: Docker) -> dict[str, Any]:
    """Judge whether the engine answers; return what it says of itself.

    Raises:
        NotRun: there is no Docker on this box.
        CannotRun: we may not talk to it.
        Stop: it does not answer.
    """
    if not shutil.which("docker"):
        raise NotRun("there is no docker on this box: layer 1 installs it")
    answer = docker.ask("info", "--format", "{{json .}}")
    if "permission denied" in f"{answer.out}{answer.err}".lower():
        raise CannotRun("docker's socket is closed to this user: sudo, or the group docker")
    try:
        info: dict[str, Any] = json.loads(answer.out)
        version = str(info.get("ServerVersion") or "")
    except ValueError:
        info, version = {}, ""
    if not version:
        errors = "; ".join(info.get("ServerErrors") or [])
        report.need(False, "daemon answers", errors or answer.fault)
    report.versions["docker"] = version
    toolkit = run("nvidia-ctk", "--version")
    if toolkit.code == 0 and toolkit.out:
        report.versions["nvidia-container-toolkit"] = toolkit.out.splitlines()[0].split()[-1]
    groups = f"cgroup {info.get('CgroupVersion')} by {info.get('CgroupDriver')}"
    report.judge(True, "daemon answers", f"Docker {version}, {groups}")
    return info


def judge_runtime(report: Report, docker: Docker, info: dict[str, Any], gpus: int) -> None:
    """Judge whether Docker knows the nvidia runtime, and whether that runs a container."""
    names = ("nvidia runtime registered", "nvidia runtime runs")
    known = sorted(info.get("Runtimes") or {})
    if "nvidia" in known:
        report.judge(True, names[0], f"runtimes: {', '.join(known)}")
        how = ("--runtime", "nvidia", "--env", "NVIDIA_VISIBLE_DEVICES=void")
        said = docker.run("echo", "it-runs", how=how)
        report.judge(said.out == "it-runs", names[1], said.fault if said.code else said.out)
    elif gpus or has_layer_3():
        hint = "nvidia-ctk runtime configure --runtime=docker, then restart Docker"
        report.judge(False, names[0], f"runtimes: {', '.join(known)}: {hint}")
        report.judge(False, names[1], "it is not registered")
    else:
        for name in names:
            report.skip(name, "layer 3 is not on this box, which has no GPU")


def has_layer_3() -> bool:
    """Return whether layer 3 was applied."""
    try:
        return "3" in json.loads(Path(f"{ROOT}/var/lib/cube/layers.json").read_text())["layers"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def uuids(answer: Answer) -> list[str]:
    """Return the GPUs that `nvidia-smi -L` lists."""
    return sorted(re.findall(r"UUID: (GPU-[\w-]+)", answer.out)) if answer.code == 0 else []


def judge_ways(report: Report, docker: Docker, wanted: list[str], fault: str) -> None:
    """Judge each way to give a container all GPUs of the box."""
    for name, how in WAYS.items():
        if not wanted:
            report.judge(False, name, f"nvidia-smi on the box itself: {fault}")
            continue
        say(name)
        answer = docker.run("nvidia-smi", "-L", how=tuple(how))
        found = uuids(answer)
        told = f"{len(found)} of {len(wanted)} GPUs in the container"
        report.judge(found == wanted, name, told if answer.code == 0 else answer.fault)


def judge_sharing(report: Report, docker: Docker, wanted: list[str], venv: str) -> None:
    """Judge whether two containers use all GPUs at the same time."""
    name = "GPUs shared"
    if not wanted:
        report.judge(False, name, "nvidia-smi on the box itself lists no GPU")
        return
    say(name)
    torch = docker.layer is not None and Path(venv, "bin/python").exists()
    lend = ["--volume", f"{venv}:{venv}:ro"] if torch else []
    pair = [docker.start(*WAYS["GPUs by --gpus"], *lend) for _ in range(2)]
    for container, answer in pair:
        if answer.code != 0:
            report.judge(False, name, f"{container} does not start: {answer.fault}")
            return
    work = [f"{venv}/bin/python", "-c", CALCULATE] if torch else ["nvidia-smi", "-L"]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda one: docker.ask("exec", one[0], *work), pair))
    count = len(wanted)
    good = [one.out == f"{count} {count}" if torch else uuids(one) == wanted for one in answers]
    bad = [one for one, right in zip(answers, good, strict=True) if not right]
    did = "calculated on" if torch else "listed"
    detail = f"two containers {did} all {count} GPUs at the same time"
    if bad:
        detail = f"{len(bad)} of 2 containers: {bad[0].out or bad[0].fault}"
    report.judge(not bad, name, detail)


def judge_reload(report: Report, docker: Docker, wanted: list[str]) -> None:
    """Judge whether containers keep running, and keep their GPUs, when systemd is reloaded."""
    plain, ours = "container survives daemon-reload", "GPU container survives daemon-reload"
    if os.geteuid() != 0 and not ROOT:
        for name in (plain, ours):
            report.skip(name, "only root may reload systemd: sudo")
        return
    say("reloading systemd under running containers")
    ways: dict[str, list[str]] = {"plain": []}
    ways |= {name.removeprefix("GPUs by "): how for name, how in WAYS.items() if wanted}
    begun = {name: docker.start(*how)[0] for name, how in ways.items()}
    before = look_into(docker, begun, wanted)
    reloaded = run("systemctl", "daemon-reload")
    after = look_into(docker, begun, wanted)
    if reloaded.code != 0:
        before["plain"] = f"systemctl daemon-reload: {reloaded.fault}"
    fault = before["plain"] or after["plain"]
    report.judge(not fault, plain, fault or "it runs on, and a command in it too")
    if wanted:
        judge_gpu_reload(report, ours, before, after)


def look_into(docker: Docker, begun: dict[str, str], wanted: list[str]) -> dict[str, str]:
    """Return what is wrong with each container, by the way it got its GPUs."""
    return {
        way: lives(docker, container, [] if way == "plain" else wanted)
        for way, container in begun.items()
    }


def judge_gpu_reload(
    report: Report, name: str, before: dict[str, str], after: dict[str, str]
) -> None:
    """Judge the containers with GPUs. Source: NVIDIA/nvidia-container-toolkit#48."""
    gpu = [way for way in after if way != "plain"]
    lost = {way: before[way] or after[way] for way in gpu if before[way] or after[way]}
    told = "; ".join(f"{way}: {fault}" for way, fault in lost.items())
    if lost:
        detail = f"{told}: ask for them with --device nvidia.com/gpu=all (CDI)"
    else:
        detail = f"GPUs stay, asked for by {', '.join(gpu)}"
    report.judge(not lost, name, detail)


def lives(docker: Docker, container: str, wanted: list[str]) -> str:
    """Return what is wrong with a running container, if anything."""
    if not wanted:
        answer = docker.ask("exec", container, "echo", "alive")
        return "" if answer.out == "alive" else answer.fault
    answer = docker.ask("exec", container, "nvidia-smi", "-L")
    return "" if uuids(answer) == wanted else f"lost its GPUs ({answer.fault})"


# -- the suite


def prove(report: Report, options: argparse.Namespace) -> None:
    """Judge the engine, then containers with and without GPUs."""
    docker = Docker(limit_s=options.limit)
    gpus = count_gpus()
    report.evidence = "simulated" if is_simulated() else "hardware" if gpus else "cpu"
    info = judge_daemon(report, docker)
    try:
        choose_image(report, docker, options.image)
        said = docker.run("echo", "it-runs")
        report.need(said.out == "it-runs", "container runs", said.fault if said.code else said.out)
        judge_runtime(report, docker, info, gpus)
        listed = run("nvidia-smi", "-L") if gpus else Answer(code=0, out="", err="")
        wanted = uuids(listed)
        judge_gpus(report, docker, gpus, wanted, listed)
        judge_reload(report, docker, wanted)
        if gpus and not wanted:
            report.judge(False, "GPU container survives daemon-reload", "nvidia-smi lists no GPU")
    finally:
        docker.clean()


def judge_gpus(
    report: Report, docker: Docker, gpus: int, wanted: list[str], listed: Answer
) -> None:
    """Judge what needs GPUs, or say that it waits for them."""
    if not gpus:
        for name in (*WAYS, "GPUs shared", "GPU container survives daemon-reload"):
            report.skip(name, DEFERRED)
        return
    report.figures["gpus"] = wanted
    judge_ways(report, docker, wanted, listed.fault)
    judge_sharing(report, docker, wanted, f"{ROOT}/opt/cube/venvs/pytorch")


def main() -> int:
    """Read the command line, and judge."""
    parser = make_parser("Judge GPUs in Docker's containers.")
    parser.add_argument(
        "--image", help="an image on this box; none: nvidia/cuda if there, or links"
    )
    parser.add_argument("--limit", type=positive, default=LIMIT_S, help="seconds for each command")
    options = parser.parse_args()
    report = Report(check="docker", names=NAMES, quiet=options.json)
    return conduct(report, lambda: prove(report, options))


if __name__ == "__main__":
    sys.exit(main())
