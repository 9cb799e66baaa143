"""Operations against numpy in float64. It runs in TensorFlow's environment."""

import math
from typing import Any

from guest.checking.report import one_line
from guest.suites.tensorflow.devices import devices_of
from guest.suites.work import hand_back

#: Operations that are compared with numpy in float64, and their largest relative error.
OPERATIONS = ("matrix product", "convolution", "reduction")


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
