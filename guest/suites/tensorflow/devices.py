"""The devices that TensorFlow sees or makes. It runs in TensorFlow's environment."""

from typing import Any

from guest.suites.work import hand_back, python_version

#: Logical devices on the processor where there is no GPU.
LOGICAL = 4


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
        "python": python_version(),
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
