"""Install programs of ``guest/``: their modules as one package, and launchers that start them."""

from collections.abc import Mapping

from deploy.operations.files import put_each
from deploy.runner.sources import ON_HOST, Programs

#: What every program is made of.
CORE = (
    Programs("__init__.py"),
    Programs("__main__.py"),
    Programs("checking"),
    Programs("gpus"),
)
#: Starts a program by its module, with arguments before those of the user. -I: no variable and no
#: folder of a user's; -B: nothing is written beside the modules.
LAUNCHER = f'#!/bin/sh\nexec /usr/bin/python3 -IB {ON_HOST} %s "$@"\n'
#: The same for a program that is named as Python.
PYTHON_LAUNCHER = f"""\
#!/usr/bin/python3 -IB
import runpy
import sys

sys.argv.insert(1, "%s")
runpy.run_path("{ON_HOST}", run_name="__main__")
"""


def install_programs(
    *, title: str, places: "tuple[Programs, ...]", starts: Mapping[str, str]
) -> None:
    """Install programs in /usr/local/bin.

    Args:
        title: what they are, "the health checks".
        places: their modules, beside `CORE`.
        starts: the module that each starts, with arguments, by its name.
    """
    put_each(name=f"Install the modules of {title}", files=package_files(*places))
    put_each(
        name=f"Install {title}",
        files={f"/usr/local/bin/{name}": launcher(name, words) for name, words in starts.items()},
        mode="755",
    )


def package_files(*places: "Programs") -> dict[str, str]:
    """Return the modules of `CORE` and of places by their path on a host."""
    return {path: text for place in (*CORE, *places) for path, text in place.modules().items()}


def launcher(name: str, words: str) -> str:
    """Return the launcher of a program."""
    return (PYTHON_LAUNCHER if name.endswith(".py") else LAUNCHER) % words
