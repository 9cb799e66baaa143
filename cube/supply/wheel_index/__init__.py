"""An index of wheels on loopback that keeps what it has given: a program of its own.

Standard library only. `cube.supply.wheel_cache` starts ``python -m cube.supply.wheel_index`` for
a build.
"""

#: What the program reads of its environment: URL of the index, URL of a proxy, files of
#: certificates that are trusted besides this machine's, locks, and bytes that must stay free.
INDEX, PROXY, TRUST, LOCKS, FLOOR = (
    "CUBE_WHEELS_INDEX", "CUBE_WHEELS_PROXY", "CUBE_WHEELS_TRUST", "CUBE_WHEELS_LOCKS",
    "CUBE_WHEELS_FLOOR",
)  # fmt: skip
#: The header of a request that only fills the folder: what it gets is not counted as given.
AHEAD = "X-Cube-Ahead"
