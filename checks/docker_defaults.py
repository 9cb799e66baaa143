"""What every container must get of Docker, whichever layer looks at it."""

import re
from ipaddress import IPv4Network

#: Docker's own choice, 172.17.0.0/16 and 192.168.0.0/16, collides with the networks of offices.
POOL = IPv4Network("10.213.0.0/16")
#: Bytes: Docker's own 64 MiB break the workers of data loaders.
#: Source: https://docs.pytorch.org/docs/stable/multiprocessing.html, "shared memory"
LEAST_SHM = 1024**3
#: What limits the log of a container, in number and in size.
#: Source: docs.docker.com, "Local file logging driver", options.
LOG_LIMITS = ("max-file", "max-size")

#: Source: docker/go-units, size.go, RAMInBytes.
SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
UNITS = " kmgtp"


def size_bytes(text: str) -> int:
    """Return how many bytes Docker takes a size for: "8G", "50m", "5".

    Raises:
        ValueError: it is no size, or no limit ("-1").
    """
    found = SIZE.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} limits nothing")
    return int(float(found[1]) * 1024 ** UNITS.index(found[2].lower() or " "))
