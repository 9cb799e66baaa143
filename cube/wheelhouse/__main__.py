"""Serve wheels from a folder until somebody ends it; the first line says at which port."""

import os
import sys
from pathlib import Path

from cube.wheelhouse import FLOOR, INDEX, PROXY, TRUST
from cube.wheelhouse.server import House
from cube.wheelhouse.shelf import Shelf
from cube.wheelhouse.upstream import Upstream


def main() -> None:
    """Serve. What may hold a password comes by the environment: everybody can read an argv."""
    shelf = Shelf(Path(sys.argv[1]), int(os.environ[FLOOR]))
    trust = os.environ.get(TRUST, "").split(os.pathsep)
    upstream = Upstream(
        os.environ[INDEX], os.environ.get(PROXY, ""), [file for file in trust if file]
    )
    house = House(shelf, upstream)
    sys.stdout.write(f"{house.server_port}\n")
    sys.stdout.flush()
    house.serve_forever()


if __name__ == "__main__":
    main()
