"""What runs in TensorFlow's environment, each part in a process of its own."""

from guest.suites.tensorflow.devices import probe
from guest.suites.tensorflow.memory import allocate
from guest.suites.tensorflow.operations import calculate
from guest.suites.tensorflow.training import train
from guest.suites.work import do_job

MODULE = "suites.tensorflow.worker"

ACTS = {"probe": probe, "calculate": calculate, "allocate": allocate, "train": train}


def main() -> int:
    """Do a job."""
    return do_job(ACTS)
