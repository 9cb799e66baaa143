"""Serve wheels from a folder until somebody ends it; the first line says at which port."""

import os
import sys
from pathlib import Path

from cube.supply.wheel_index import FLOOR, INDEX, LOCKS, PROXY, TRUST
from cube.supply.wheel_index.locks import wanted
from cube.supply.wheel_index.server import House
from cube.supply.wheel_index.store import Shelf
from cube.supply.wheel_index.upstream import Upstream


def main() -> None:
    """Serve. What may hold a password comes by the environment: everybody can read an argv."""
    shelf = Shelf(Path(sys.argv[1]), int(os.environ[FLOOR]))
    upstream = Upstream(os.environ[INDEX], os.environ.get(PROXY, ""), files(TRUST))
    house = House(shelf, upstream, locks=wanted(map(Path, files(LOCKS))))
    sys.stdout.write(f"{house.server_port}\n")
    sys.stdout.flush()
    house.serve_forever()


def files(variable: str) -> list[str]:
    """Return the paths that a variable of the environment lists."""
    return [path for path in os.environ.get(variable, "").split(os.pathsep) if path]


if __name__ == "__main__":
    main()
