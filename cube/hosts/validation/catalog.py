"""Which suites there are, in the order in which they run."""

from dataclasses import dataclass

#: Folder of the programs on a box. Source: deploy/roles/validation.py
FOLDER = "/usr/local/bin"


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A program on the box that proves one thing; its contract: docs/validate.md.

    Args:
        name: a word, as its report says it.
        title: what it proves, for people.
        program: file below `FOLDER`.
        arguments: that stage 4 always gives it.
        limit_s: seconds after which it is ended with all its children.
        quick_limit_s: the same for its short form.
        gate: when it fails, the suites after it are not run: they could not tell why.
    """

    name: str
    title: str
    program: str
    arguments: tuple[str, ...] = ()
    limit_s: int
    quick_limit_s: int
    gate: bool = False

    @property
    def path(self) -> str:
        """Where it is on the box."""
        return f"{FOLDER}/{self.program}"

    def limit(self, *, quick: bool) -> int:
        """Return the seconds that it has."""
        return self.quick_limit_s if quick else self.limit_s


#: The specification's order. GPU detection is a gate: with a GPU missing, nothing else is worth
#: its minutes.
SUITES = (
    Suite(
        name="gpus", title="GPU detection", program="validate-gpus.sh", arguments=("--load",),
        limit_s=600, quick_limit_s=300, gate=True,
    ),
    Suite(
        name="pytorch", title="PyTorch DDP", program="test-pytorch-ddp.py",
        limit_s=1800, quick_limit_s=600,
    ),
    Suite(
        name="tensorflow", title="TensorFlow", program="test-tensorflow-gpu.py",
        limit_s=900, quick_limit_s=600,
    ),
    Suite(
        name="vllm", title="vLLM inference", program="test-vllm-inference.py",
        limit_s=1800, quick_limit_s=900,
    ),
    Suite(
        name="docker", title="Docker and GPUs", program="test-docker-gpu.sh",
        limit_s=600, quick_limit_s=600,
    ),
)  # fmt: skip

NAMES = tuple(suite.name for suite in SUITES)


def named(name: str) -> Suite:
    """Return a suite by its name."""
    return next(suite for suite in SUITES if suite.name == name)
