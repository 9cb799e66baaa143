#!/usr/bin/python3 -I
"""Prove GPUs in Docker's containers on this box: --gpus, CDI, the nvidia runtime, sharing.

Installed as /usr/local/lib/cube/test_docker_gpu.py; test-docker-gpu.sh starts it. Without an
image an image of links is made: the box's own /usr, lent to the container, is its system.
"""

import argparse
import concurrent.futures
import contextlib
import ctypes
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# -- shared by all suites, word for word; tests/unit/box/test_suites.py compares

ROOT = os.environ.get("CUBE_ROOT", "")
WORKER = "CUBE_SUITE_WORKER"
#: Exit codes. Source: deploy/files/validation/health.sh.
EXIT_CODES = {"pass": 0, "fail": 1, "not_run": 77}
EXIT_CANNOT_RUN = 2
#: Seconds that a child gets to end after SIGTERM.
GRACE_S = 10.0


class NotRun(Exception):
    """The suite does not apply to this box."""


class CannotRun(Exception):
    """The suite applies, and cannot be run."""


class Stop(Exception):
    """A check failed on which the rest depends."""


@dataclass(kw_only=True)
class Report:
    """What is said of a box; `names` is the whole set of checks, in their order."""

    check: str
    names: tuple[str, ...]
    quiet: bool
    evidence: str = "cpu"
    checks: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def add(
        self, status: str, name: str, detail: str, number: tuple[float, float, str] | None = None
    ) -> None:
        """Add a check; `number` is its value, its limit and their unit."""
        assert name in self.names, name
        assert name not in self.said(), name
        entry: dict[str, Any] = {"name": name, "status": status, "detail": one_line(detail)}
        if number:
            entry |= {"value": round(number[0], 3), "limit": number[1], "unit": number[2]}
        self.checks.append(entry)
        if not self.quiet:
            print(f"{status:<5} {name}: {entry['detail']}", flush=True)

    def said(self) -> set[str]:
        """Return the names of the checks that have a result."""
        return {entry["name"] for entry in self.checks}

    def judge(
        self, passed: bool, name: str, detail: str, number: tuple[float, float, str] | None = None
    ) -> None:
        """Add a check that passed or failed."""
        self.add("OK" if passed else "FAIL", name, detail, number)

    def need(self, passed: bool, name: str, detail: str) -> None:
        """Add a check on which the rest depends.

        Raises:
            Stop: it failed.
        """
        self.judge(passed, name, detail)
        if not passed:
            raise Stop

    def skip(self, name: str, reason: str) -> None:
        """Add a check that does not apply here."""
        self.add("SKIP", name, reason)

    def counts(self) -> dict[str, int]:
        """Count the results."""
        found = [entry["status"] for entry in self.checks]
        return {word.lower(): found.count(word) for word in ("OK", "FAIL", "SKIP")}

    def finish(self, reason: str = "", code: int | None = None) -> int:
        """Print what is left to print and return the exit code.

        Args:
            reason: why the suite was not or could not be run.
            code: the exit code, where the checks do not settle it.
        """
        failed = self.counts()["fail"] > 0
        for name in self.names if not reason else ():
            if name in self.said():
                continue
            if failed:
                self.skip(name, "not reached: an earlier check failed")
            else:
                self.add("FAIL", name, "no result: a defect of this suite")
        counts = self.counts()
        settled = "fail" if counts["fail"] else "pass" if counts["ok"] else "not_run"
        outcome = "not_run" if reason else settled
        if self.quiet:
            evidence = self.evidence if outcome != "not_run" else "none"
            told = {"check": self.check, "outcome": outcome, "reason": one_line(reason),
                    "evidence": evidence, "counts": counts, "checks": self.checks,
                    "figures": self.figures, "versions": self.versions,
                    "seconds": round(time.monotonic() - self.started, 1)}  # fmt: skip
            print(json.dumps(told, allow_nan=False), flush=True)
        elif code is None:
            if reason:
                print(f"SKIP  {self.check}: NOT RUN: {one_line(reason)}")
            mark = " (simulated)" if self.evidence == "simulated" else ""
            print(f"{outcome.replace('_', ' ').upper()} {self.check}: {counts['ok']} passed,"
                  f" {counts['fail']} failed, {counts['skip']} skipped{mark}")  # fmt: skip
        return EXIT_CODES[outcome] if code is None else code


def one_line(text: str, limit: int = 300) -> str:
    """Return text without control characters, not longer than a line may be."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:limit]


def say(text: str) -> None:
    """Tell of progress."""
    print(f"... {text}", file=sys.stderr, flush=True)


def is_simulated() -> bool:
    """Return whether something on this box stands in for the real thing."""
    return bool(ROOT) or any(Path("/usr/share/cube/stand-ins").glob("*"))


def count_gpus() -> int:
    """Count NVIDIA's display controllers on the PCI bus.

    Source: the PCI ID registry, vendor 10de; PCI class 03 is a display controller.
    """
    found = 0
    for device in Path(f"{ROOT}/sys/bus/pci/devices").glob("*"):
        with contextlib.suppress(OSError):
            ours = (device / "vendor").read_text().strip() == "0x10de"
            found += ours and (device / "class").read_text().startswith("0x03")
    return found


def expected_gpus(on_bus: int) -> int:
    """Return how many GPUs the box should have: what layer 5 wrote down, else what is there."""
    try:
        return int(json.loads(Path(f"{ROOT}/etc/cube/expectations.json").read_text())["gpu_count"])
    except (OSError, ValueError, KeyError, TypeError):
        return on_bus


def end_with_parent() -> None:
    """Have the kernel end this process when its parent ends. Source: PR_SET_PDEATHSIG(2const)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def raise_on_signals() -> None:
    """Turn signals that end a program into an exception, so that children are ended."""
    ending = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

    def leave(number: int, _frame: object) -> None:
        for one in ending:
            signal.signal(one, signal.SIG_IGN)
        sys.exit(128 + number)

    for one in ending:
        signal.signal(one, leave)


def adopt_orphans() -> None:
    """Become the parent of what children leave behind. Source: PR_SET_CHILD_SUBREAPER(2const)."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def family() -> list[int]:
    """Return all processes that come from this one, but for the sampler's nvidia-smi."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, tail = stat.read_text().rpartition(")")
            state, parent = tail.split()[:2]
            if state not in "ZX" and not head.endswith("(nvidia-smi"):
                parents[int(stat.parent.name)] = int(parent)
    found = [os.getpid()]
    for one in found:
        found.extend(pid for pid, parent in parents.items() if parent == one)
    return found[1:]


def end_family() -> bool:
    """End all processes that come from this one; return whether SIGTERM was enough."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_S
        for pid in family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        while family() and time.monotonic() < deadline:
            time.sleep(0.1)
        if not family():
            return number == signal.SIGTERM
    return False


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A child that ended; `code` is None when it was ended for taking too long."""

    code: int | None
    log: str
    result: dict[str, Any]

    @property
    def fault(self) -> str:
        """What went wrong, in one line."""
        if self.code is None:
            return f"hung: no end within its limit; last: {last_line(self.log)}"
        return str(self.result.get("error") or f"exit code {self.code}: {last_line(self.log)}")


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [
        line for line in lines if re.match(r"(?:\[.*\]:?)?\s*[\w.]*(Error|Exception)\b", line)
    ]
    return (errors or lines or ["no output"])[-1]


def run_worker(python: str, job: dict[str, Any], limit_s: float, **more: str) -> Ended:
    """Run this file as a worker in a session of its own, and end all that it leaves.

    Args:
        python: the interpreter.
        job: what it does; its results come back in the file that `result` names.
        limit_s: seconds until it is ended.
        more: variables of its environment.
    """
    with tempfile.TemporaryDirectory(prefix="cube-suite-") as folder:
        result = Path(folder, "result.json")
        environment = worker_environment(python, job | {"result": str(result)}) | more
        argv = [python, "-s", str(Path(__file__).resolve())]
        code, log = follow(argv, environment, limit_s, folder)
        try:
            told = json.loads(result.read_text())
        except (OSError, ValueError):
            told = {}
    return Ended(code=code, log=log, result=told)


def worker_environment(python: str, job: dict[str, Any]) -> dict[str, str]:
    """Return the variables of a worker: what its framework starts is beside its Python."""
    path = f"{Path(python).parent}:{os.environ.get('PATH', os.defpath)}:/usr/local/cuda/bin"
    kept = {
        name: text for name, text in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}
    }
    return kept | {WORKER: json.dumps(job), "PATH": path}


def follow(
    argv: list[str], environment: dict[str, str], limit_s: float, folder: str
) -> tuple[int | None, str]:
    """Run a program to its end or its limit, passing its progress on; return code and output."""
    output = Path(folder, "output")
    with output.open("wb") as stream:
        child = subprocess.Popen(
            argv, env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            start_new_session=True, cwd=folder,
        )  # fmt: skip
    deadline, seen = time.monotonic() + limit_s, 0
    try:
        while child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
            seen += pass_on(output, seen)
        code = child.poll()
    finally:
        end_family()
        child.wait()
    pass_on(output, seen)
    return code, output.read_text(errors="replace")


def pass_on(output: Path, start: int) -> int:
    """Print the whole lines of progress after a position; return how much was looked at."""
    with output.open("rb") as stream:
        stream.seek(start)
        whole, newline, _ = stream.read().rpartition(b"\n")
    for line in whole.decode(errors="replace").splitlines():
        if line.startswith("... "):
            say(line[4:])
    return len(whole + newline)


def hand_back(job: dict[str, Any], result: dict[str, Any]) -> None:
    """Give a worker's results to the parent, whole or not at all."""
    part = Path(f"{job['result']}.{os.getpid()}")
    part.write_text(json.dumps(result))
    part.rename(job["result"])


def find_python(name: str, given: str | None) -> str:
    """Return the interpreter of a framework's environment.

    Raises:
        NotRun: the environment is not on this box.
        CannotRun: it is not whole, or what was given cannot be run.
    """
    if given:
        if not shutil.which(given):
            raise CannotRun(f"--python {given} cannot be run: name an interpreter that has {name}")
        return str(Path(shutil.which(given) or given).absolute())
    venv = Path(f"{ROOT}/opt/cube/venvs/{name}")
    if not venv.is_dir():
        raise NotRun(f"there is no environment {name} on this box ({venv}): layer 4 makes it")
    if not (venv / "requirements.txt").is_file() or not os.access(venv / "bin/python", os.X_OK):
        raise CannotRun(f"the environment {venv} is not whole: apply layer 4 again")
    return str(venv / "bin/python")


def conduct(report: Report, work: Callable[[], None]) -> int:
    """Do the work of a suite and return the exit code."""
    raise_on_signals()
    adopt_orphans()
    try:
        work()
    except Stop:
        pass
    except NotRun as error:
        return report.finish(str(error))
    except CannotRun as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return report.finish(str(error), EXIT_CANNOT_RUN)
    return report.finish()


def positive(text: str) -> int:
    """Read a whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def make_parser(description: str) -> argparse.ArgumentParser:
    """Make a parser with the flags of every suite."""
    parser = argparse.ArgumentParser(
        description=description, allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog="Exit codes: 0 every check that applies passed; 1 a check failed; 2 it could not"
        " run; 77 NOT RUN, it does not apply to this box: never a pass.",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="small sizes, for a first look")
    return parser


# -- end of what is shared

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
            argv, input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True, timeout=limit_s, check=False,
        )  # fmt: skip
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
            "volume", "create", "--driver", "local", "--opt", "type=overlay",
            "--opt", "device=overlay", self.image,
            "--opt", f"o=lowerdir=/usr,upperdir={upper},workdir={work}",
        )  # fmt: skip

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
