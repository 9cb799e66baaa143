"""Memory of each device, written and read back. It runs in TensorFlow's environment."""

from typing import Any

from guest.checking.report import one_line
from guest.suites.tensorflow.devices import devices_of
from guest.suites.work import hand_back


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
