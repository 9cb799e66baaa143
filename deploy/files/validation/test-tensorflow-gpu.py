#!/usr/bin/python3 -I
"""Prove TensorFlow on this box: devices, operations against float64, memory, a training step.

Each part runs in a child of its own, so that a part that crashes or hangs fails by itself.
Without a GPU four logical devices on the processor stand in for them, and what needs GPUs is
deferred. This process needs Python's own library only.
"""

import argparse
import contextlib
import ctypes
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
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

#: Operations that are compared with numpy in float64, and their largest relative error.
OPERATIONS = ("matrix product", "convolution", "reduction")
NAMES = (
    "environment", "devices", "GPU architecture", *OPERATIONS, "allocation", "training step",
    "variables equal",
)  # fmt: skip

#: Logical devices on the processor where there is no GPU.
LOGICAL = 4
#: Relative to the largest value of the reference. float32 has 24 bits; sums over 512 terms in any
#: order lose less than 512 * 2^-24 = 3e-5 of it. TensorFloat-32 (10 bits) is switched off.
#: Source: Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1.
TOLERANCE = 3e-5
#: MiB that are written and read back on each device.
ALLOCATION_MIB = {("gpu", False): 2048, ("gpu", True): 512, ("cpu", False): 64, ("cpu", True): 16}
#: Compute capability from which the official wheels are known to be broken, and the evidence.
BLACKWELL = (12, 0)
REFERENCE = "tensorflow/tensorflow#111958, #101746, #89272"
LIMIT_S = {True: 240.0, False: 900.0}


# -- what runs in TensorFlow's environment


def devices_of(job: dict[str, Any]) -> list[str]:
    """Return the devices to use, after making logical ones where the processor stands in."""
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if not gpus:
        (processor,) = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration()] * job.get("logical", LOGICAL)
        tf.config.set_logical_device_configuration(processor, parts)
    return [one.name for one in tf.config.list_logical_devices("GPU" if gpus else "CPU")]


def probe(job: dict[str, Any]) -> None:
    """Say what TensorFlow is and sees."""
    import numpy as np
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    gpus = [
        tf.config.experimental.get_device_details(one)
        for one in tf.config.list_physical_devices("GPU")
    ]
    versions = {
        "tensorflow": tf.__version__, "python": sys.version.split()[0], "numpy": np.__version__,
        "keras": tf.keras.__version__, "cuda": build.get("cuda_version", ""),
        "cudnn": build.get("cudnn_version", ""),
    }  # fmt: skip
    hand_back(job, {
        "versions": versions, "devices": devices_of(job), "gpus": [
            {"name": one.get("device_name", ""),
             "capability": list(one.get("compute_capability", ()))} for one in gpus
        ],
        "built_for": list(build.get("cuda_compute_capabilities", ())),
    })  # fmt: skip


def calculate(job: dict[str, Any]) -> None:
    """Run each operation on each device and tell its error against numpy in float64."""
    import numpy as np

    devices = devices_of(job)
    source = np.random.default_rng(1)
    size = 512
    a, b = (source.standard_normal((size, size)).astype("float32") for _ in range(2))
    image = source.standard_normal((2, 16, 16, 8)).astype("float32")
    kernel = source.standard_normal((3, 3, 8, 16)).astype("float32")
    references = {
        "matrix product": a.astype("float64") @ b.astype("float64"),
        "convolution": convolve(image.astype("float64"), kernel.astype("float64")),
        "reduction": np.abs(a).astype("float64").sum(axis=0),
    }
    errors: dict[str, dict[str, float | str]] = {name: {} for name in OPERATIONS}
    for device in devices:
        for name in OPERATIONS:
            errors[name][device] = error_of(name, device, (a, b, image, kernel), references[name])
    hand_back(job, {"errors": errors})


def error_of(name: str, device: str, given: tuple[Any, ...], reference: Any) -> float | str:
    """Return the largest relative error of an operation, or how it failed."""
    import numpy as np
    import tensorflow as tf

    a, b, image, kernel = given
    try:
        with tf.device(device):
            if name == "matrix product":
                result = tf.linalg.matmul(tf.constant(a), tf.constant(b))
            elif name == "convolution":
                result = tf.nn.conv2d(tf.constant(image), tf.constant(kernel), 1, "VALID")
            else:
                result = tf.reduce_sum(tf.abs(tf.constant(a)), axis=0)
        place, values = result.device, result.numpy().astype("float64")
    except tf.errors.OpError as error:
        return f"{type(error).__name__}: {one_line(error.message)}"
    if not place.endswith(device.removeprefix("/")):
        return f"ran on {place}"
    worst = float(np.abs(values - reference).max() / np.abs(reference).max())
    return worst if math.isfinite(worst) else "not finite"


def convolve(image: Any, kernel: Any) -> Any:
    """Convolve without padding, in the plainest way. Shapes are NHWC and HWIO."""
    import numpy as np

    height, width = (image.shape[n] - kernel.shape[n - 1] + 1 for n in (1, 2))
    out = np.zeros((image.shape[0], height, width, kernel.shape[3]))
    for row in range(kernel.shape[0]):
        for column in range(kernel.shape[1]):
            part = image[:, row : row + height, column : column + width, :]
            out += part @ kernel[row, column]
    return out


def allocate(job: dict[str, Any]) -> None:
    """Fill memory of each device with numbers of its own, all at once, and read them back."""
    import numpy as np
    import tensorflow as tf

    # float32, because TensorFlow keeps int32 in the host's memory; these whole numbers are exact.
    one_mib = (np.arange(2**18) % 8191).astype("float32")
    held, wrong = [], {}
    for index, device in enumerate(devices_of(job)):
        try:
            with tf.device(device):
                block = tf.tile(tf.constant(one_mib), [job["mib"]]) + float(index + 1)
                held.append((device, block))
            used = memory_used(device)
            if used is not None and used < job["mib"] * 2**20:
                wrong[device] = f"only {used >> 20} MiB of it are in use"
        except tf.errors.ResourceExhaustedError:
            wrong[device] = f"out of memory for {job['mib']} MiB"
        except tf.errors.OpError as error:
            wrong[device] = f"{type(error).__name__}: {one_line(error.message)}"
    for index, (device, block) in enumerate(held):
        if not block.device.endswith(device.removeprefix("/")):
            wrong[device] = f"was allocated on {block.device}"
        elif (block.numpy().reshape(job["mib"], -1) != one_mib + (index + 1)).any():
            wrong[device] = "what was read is not what was written"
    hand_back(job, {"wrong": wrong, "devices": [device for device, _ in held]})


def memory_used(device: str) -> int | None:
    """Return the bytes that TensorFlow uses of a GPU; it counts no other device."""
    import tensorflow as tf

    if "GPU" not in device:
        return None
    return int(tf.config.experimental.get_memory_info(device.rpartition("device:")[2])["current"])


def train(job: dict[str, Any]) -> None:
    """Train under MirroredStrategy; tell losses and how equal the copies are."""
    import numpy as np
    import tensorflow as tf

    tf.keras.utils.set_random_seed(1)
    strategy = tf.distribute.MirroredStrategy(devices_of(job))
    with strategy.scope():
        model = tf.keras.Sequential([
            tf.keras.layers.Conv2D(8, 3, activation="relu"), tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(10),
        ])  # fmt: skip
        model.build((None, 16, 16, 3))
        optimizer = tf.keras.optimizers.SGD(0.05)
    copies = strategy.num_replicas_in_sync
    source = np.random.default_rng(1)
    images = source.standard_normal((8 * copies, 16, 16, 3)).astype("float32")
    labels = source.integers(0, 10, 8 * copies)

    def part(context: Any) -> Any:
        first = 8 * context.replica_id_in_sync_group
        return images[first : first + 8], labels[first : first + 8]

    batch = [strategy.experimental_distribute_values_from_function(
        lambda context, at=at: tf.constant(part(context)[at])) for at in (0, 1)]  # fmt: skip

    @tf.function  # type: ignore[untyped-decorator, unused-ignore]
    def step(x: Any, y: Any) -> Any:
        def one(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                each = tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x, training=True))
                loss = tf.nn.compute_average_loss(each, global_batch_size=8 * copies)
            grads = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))
            return loss

        return strategy.reduce("SUM", strategy.run(one, args=(x, y)), axis=None)

    losses = [float(step(*batch)) for _ in range(job["steps"])]
    different = []
    for variable in model.trainable_variables:
        values = [one.numpy() for one in strategy.experimental_local_results(variable.value)]
        if len(values) != copies or any((one != values[0]).any() for one in values):
            different.append(variable.path)
    hand_back(job, {
        "losses": [one if math.isfinite(one) else None for one in losses], "copies": copies,
        "variables": len(model.trainable_variables), "different": different,
    })  # fmt: skip


ACTS = {"probe": probe, "calculate": calculate, "allocate": allocate, "train": train}


# -- what is judged


def judge_devices(report: Report, gpus: int, devices: list[str]) -> None:
    """Judge how many GPUs TensorFlow sees; one that is there must not be passed over."""
    on_bus = count_gpus()
    expected = expected_gpus(on_bus)
    if gpus == on_bus == 0:
        detail = f"{len(devices)} logical devices on the processor"
        report.need(len(devices) == LOGICAL, "devices", f"{detail}, expected {LOGICAL}")
        return
    hint = "" if gpus else ": is it a build for GPUs, and does the driver answer?"
    detail = f"TensorFlow sees {gpus} GPUs, expected {expected}, on the bus {on_bus}{hint}"
    report.need(gpus == expected, "devices", detail)


def judge_architecture(
    report: Report, gpus: list[dict[str, Any]], built_for: list[str], version: str
) -> None:
    """Judge whether the wheel has code for the GPUs."""
    name = "GPU architecture"
    if not gpus:
        report.skip(name, "deferred: there is no GPU whose architecture could be missing")
        return
    found = {tuple(one["capability"]) for one in gpus}
    lacking = sorted(one for one in found if not has_code(one, built_for))
    told = f"TensorFlow {version} has code for {', '.join(built_for) or 'nothing that it tells of'}"
    if not lacking:
        report.judge(True, name, told)
        return
    wanted = ", ".join(f"sm_{''.join(map(str, one))}" for one in lacking)
    known = ""
    if lacking[-1] >= BLACKWELL:
        known = f"; known: the official wheels up to 2.21 do not run on Blackwell ({REFERENCE})"
    report.judge(False, name, f"{told}, not for {wanted}{known}")


def has_code(capability: tuple[int, ...], built_for: list[str]) -> bool:
    """Return whether a build has machine code for a GPU.

    Code runs on GPUs of the same major number and a minor one that is not smaller; what a driver
    may compile from PTX at the start is not counted, for there it is known to fail.
    Source: CUDA C++ Programming Guide, "Binary Compatibility".
    """
    major, minor = capability
    codes = [re.fullmatch(r"sm_(\d+)(\d)[af]?", word) for word in built_for]
    return any(one and int(one[1]) == major and int(one[2]) <= minor for one in codes)


def judge_operations(report: Report, ended: Ended) -> None:
    """Judge the errors of each operation on every device."""
    errors = ended.result.get("errors", {})
    report.figures["relative_errors"] = errors
    for name in OPERATIONS:
        found = errors.get(name)
        if ended.code != 0 or not found:
            report.judge(False, name, ended.fault)
            continue
        broken = {device: one for device, one in found.items() if isinstance(one, str)}
        if broken:
            device, fault = next(iter(broken.items()))
            report.judge(False, name, f"{len(broken)} of {len(found)} devices: {device}: {fault}")
            continue
        device, worst = max(found.items(), key=lambda item: item[1])
        detail = (
            f"relative error {worst:.1e} on {device}, the worst of {len(found)};"
            f" limit {TOLERANCE:.0e}"
        )
        report.judge(worst <= TOLERANCE, name, detail)


def judge_allocation(report: Report, ended: Ended, mib: int) -> None:
    """Judge whether memory of each device kept what was written."""
    wrong = ended.result.get("wrong")
    if ended.code != 0 or wrong is None:
        report.judge(False, "allocation", ended.fault)
    elif wrong:
        device, fault = next(iter(wrong.items()))
        report.judge(False, "allocation", f"{device}: {fault}")
    else:
        count = len(ended.result["devices"])
        report.judge(count > 0, "allocation", f"{mib} MiB on each of {count} devices, read back")


def judge_training(report: Report, ended: Ended, devices: int) -> None:
    """Judge the training under MirroredStrategy."""
    losses = ended.result.get("losses")
    if ended.code != 0 or not losses:
        report.need(False, "training step", ended.fault)
    assert losses is not None
    report.figures["losses"] = losses
    copies = ended.result["copies"]
    good = None not in losses and copies == devices
    told = [f"{one:.4f}" if one is not None else "not finite" for one in (losses[0], losses[-1])]
    detail = f"loss {told[0]} to {told[1]} in {len(losses)} steps on {copies} of {devices} devices"
    report.judge(good, "training step", detail)
    different = ended.result["different"]
    count = ended.result["variables"]
    said = f"{count} variables are equal on {copies} devices"
    differ = f"{len(different)} of {count} differ, such as {different[0]}" if different else ""
    if copies == 1:
        report.skip("variables equal", "there is one device: nothing to compare")
        return
    report.judge(not different and count > 0, "variables equal", differ or said)


# -- the suite


def prove(report: Report, options: argparse.Namespace) -> None:
    """Run each part in a child, and judge."""
    python = find_python("tensorflow", options.python)
    limit_s = options.limit or LIMIT_S[options.quick]

    def part(act: str, **more: Any) -> Ended:
        say(f"TensorFlow: {act}")
        started = time.monotonic()
        ended = run_worker(
            python, {"act": act, **more}, limit_s, TF_CPP_MIN_LOG_LEVEL="2",
            TF_FORCE_GPU_ALLOW_GROWTH="true", PYTHONUNBUFFERED="1",
        )  # fmt: skip
        report.figures[f"{act}_seconds"] = round(time.monotonic() - started, 1)
        if ended.code != 0:
            report.figures[f"log_of_{act}"] = ended.log[-4000:]
        return ended

    seen = part("probe")
    if seen.code != 0 or "versions" not in seen.result:
        raise CannotRun(f"TensorFlow cannot be used with {python}: {seen.fault}")
    report.judge(True, "environment", f"TensorFlow {seen.result['versions']['tensorflow']}")
    report.versions |= {name: text for name, text in seen.result["versions"].items() if text}
    gpus, devices = seen.result["gpus"], seen.result["devices"]
    report.evidence = "simulated" if is_simulated() else "hardware" if gpus else "cpu"
    report.figures |= {"devices": devices, "gpus": gpus}
    judge_devices(report, len(gpus), devices)
    judge_architecture(report, gpus, seen.result["built_for"], report.versions["tensorflow"])
    judge_operations(report, part("calculate"))
    mib = options.mib or ALLOCATION_MIB["gpu" if gpus else "cpu", options.quick]
    judge_allocation(report, part("allocate", mib=mib), mib)
    judge_training(report, part("train", steps=5 if options.quick else 50), len(devices))


def main() -> int:
    """Read the command line, and judge."""
    if WORKER in os.environ:
        end_with_parent()
        job = json.loads(os.environ[WORKER])
        try:
            ACTS[job["act"]](job)
        except Exception as error:
            hand_back(job, {"error": f"{type(error).__name__}: {one_line(str(error))}"})
            raise
        return 0
    parser = make_parser("Judge TensorFlow: devices, operations, memory, a training step.")
    parser.add_argument("--python", help="interpreter that has TensorFlow, not the environment's")
    parser.add_argument("--mib", type=positive, help="MiB that are written on each device")
    parser.add_argument("--limit", type=positive, help="seconds until a part counts as hung")
    options = parser.parse_args()
    report = Report(check="tensorflow", names=NAMES, quiet=options.json)
    return conduct(report, lambda: prove(report, options))


if __name__ == "__main__":
    sys.exit(main())
