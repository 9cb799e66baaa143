"""Role cuda: the CUDA toolkit and cuDNN; the driver's role has added their archive."""

from dataclasses import dataclass

from deploy.operations import apt
from deploy.operations.files import put_atomic
from deploy.operations.held import HELD
from deploy.roles.nvidia_driver import LATER
from deploy.runner import supported
from deploy.runner.data import read
from deploy.runner.role import Packages, role
from deploy.runner.sources import template_text

#: The folder of the toolkit. Source: cuda-toolkit-X-Y's update-alternatives; Debian's and
#: Ubuntu's nvidia-cuda-toolkit, whose compiler is in /usr/bin.
HOMES = {"nvidia": "/usr/local/cuda", "distribution": "/usr/lib/cuda"}


@dataclass(frozen=True, kw_only=True)
class Cuda:
    """What the role reads."""

    driver_source: str
    cuda_toolkit: str
    cudnn: str


@role("CUDA")
def cuda() -> Packages:
    """Install the toolkit, and put it on the path."""
    data = read(Cuda)
    supported.check()
    # Gigabytes, while the driver is compiled.
    apt.load_ahead(name="Begin to load CUDA", packages=packages(data))
    yield ()
    apt.install(
        name=f"Install CUDA {data.cuda_toolkit}", packages=packages(data), loaded_ahead=True
    )
    put_atomic(
        name="Put CUDA on the path of every login",
        dest="/etc/profile.d/cube-cuda.sh",
        content=template_text("cuda/profile.sh.j2", home=HOMES[data.driver_source]),
        validate="sh -n %s",
    )
    apt.hold(name="Hold CUDA's packages at their version", patterns=HELD, but=LATER)


def packages(data: Cuda) -> tuple[str, ...]:
    """Name the packages.

    The distributions have no cuDNN: Debian's nvidia-cudnn only downloads it from NVIDIA while it
    is installed, past the archive's signatures. There the frameworks' environments bring it.
    """
    if data.driver_source == "distribution":
        return ("nvidia-cuda-toolkit",)
    major, minor = data.cuda_toolkit.split(".")[:2]
    return (f"cuda-toolkit-{major}-{minor}", f"cudnn{data.cudnn}-cuda-{major}")
