#!/usr/bin/python3 -IB
"""Prove TensorFlow on this box: devices, operations against float64, memory, a training step.

Each part runs in a child of its own, so that a part that crashes or hangs fails by itself.
Without a GPU four logical devices on the processor stand in for them, and what needs GPUs is
deferred. This process needs Python's own library only.
"""

import argparse
import json
import math
import os
import re
import sys
import time
from typing import Any

sys.path.insert(0, os.environ.get("CUBE_LIB", "/usr/local/lib/cube"))  # python3 -I leaves it out

from suite_process import WORKER, Ended, end_with_parent, hand_back, run_worker, say
from suite_report import (
    CannotRun,
    Report,
    conduct,
    count_gpus,
    expected_gpus,
    find_python,
    is_simulated,
    make_parser,
    one_line,
    positive,
)

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
        "tensorflow": tf.__version__,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "keras": tf.keras.__version__,
        "cuda": build.get("cuda_version", ""),
        "cudnn": build.get("cudnn_version", ""),
    }
    hand_back(
        job,
        {
            "versions": versions,
            "devices": devices_of(job),
            "gpus": [
                {
                    "name": one.get("device_name", ""),
                    "capability": list(one.get("compute_capability", ())),
                }
                for one in gpus
            ],
            "built_for": list(build.get("cuda_compute_capabilities", ())),
        },
    )


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
        model = tf.keras.Sequential(
            [
                tf.keras.layers.Conv2D(8, 3, activation="relu"),
                tf.keras.layers.Flatten(),
                tf.keras.layers.Dense(10),
            ]
        )
        model.build((None, 16, 16, 3))
        optimizer = tf.keras.optimizers.SGD(0.05)
    copies = strategy.num_replicas_in_sync
    source = np.random.default_rng(1)
    images = source.standard_normal((8 * copies, 16, 16, 3)).astype("float32")
    labels = source.integers(0, 10, 8 * copies)

    def part(context: Any) -> Any:
        first = 8 * context.replica_id_in_sync_group
        return images[first : first + 8], labels[first : first + 8]

    batch = [
        strategy.experimental_distribute_values_from_function(
            lambda context, at=at: tf.constant(part(context)[at])
        )
        for at in (0, 1)
    ]

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
    hand_back(
        job,
        {
            "losses": [one if math.isfinite(one) else None for one in losses],
            "copies": copies,
            "variables": len(model.trainable_variables),
            "different": different,
        },
    )


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
            __file__,
            python,
            {"act": act, **more},
            limit_s,
            TF_CPP_MIN_LOG_LEVEL="2",
            TF_FORCE_GPU_ALLOW_GROWTH="true",
            PYTHONUNBUFFERED="1",
        )
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
