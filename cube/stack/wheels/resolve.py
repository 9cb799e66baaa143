"""Making locks: uv resolves a framework's requirements on PyPI."""

import functools
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cube.runtime import run
from cube.runtime.errors import CommandError, StackError
from cube.stack import lockfile
from cube.stack.profile import Framework, Profile

#: Where pip's help names the index that it asks when it is told of none.
DEFAULT_INDEX = re.compile(r"Python Package Index \(default (\S+?)\)")
#: uv's variable for the index, which may have a login, so it is no argument.
INDEX = "UV_DEFAULT_INDEX"
#: The oldest Python that a lock is for; PLATFORM says the same to people.
PYTHON = "3.12"
#: Only these machines: the lock holds nothing for others.
PROJECT = """[tool.uv]
environments = [
    "sys_platform == 'linux' and platform_machine == 'x86_64' and python_full_version < '3.14'",
]
"""


def lock(
    profile: Profile, names: list[str], *, index: str = "", env: Mapping[str, str] | None = None
) -> list[Path]:
    """Make the locks of frameworks anew, vLLM's first: its torch is what PyTorch's gets too.

    Args:
        profile: whose folder gets them.
        names: of frameworks.
        index: a package index; empty for PyPI.
        env: variables that lead uv to it: a proxy, certificates.

    Raises:
        StackError: there is no such framework, or no set of packages that fits.
    """
    for name in names:
        if name not in profile.frameworks:
            known = ", ".join(profile.frameworks)
            raise StackError(
                f"the profile {profile.name} has no framework {name}", hint=f"choose from {known}"
            )
    made = []
    for name in sorted(names, key=lambda one: one != "vllm"):
        framework = profile.frameworks[name]
        body = compile_lock(framework, profile, index=index, env=env or {})
        file = profile.lock(name)
        file.write_text(lockfile.render(profile, framework, body))
        made.append(file)
    return made


@functools.cache
def public_index() -> str:
    """Return the URL of PyPI as pip's help states it; this machine's settings do not count.

    Raises:
        StackError: pip's help names none.
    """
    argv = [sys.executable, "-m", "pip", "--isolated", "install", "--help"]
    found = DEFAULT_INDEX.search(" ".join(run.run(argv, env={"COLUMNS": "200"}).stdout.split()))
    if not found:
        raise StackError("pip's help names no package index", hint="set network.pypi_index")
    return found[1]


def compile_lock(
    framework: Framework, profile: Profile, *, index: str, env: Mapping[str, str]
) -> str:
    """Return what uv resolves for a framework, with variables of its environment.

    Raises:
        StackError: nothing fits; uv's reason is in the details.
    """
    vllm = profile.lock("vllm")
    shares = framework.name == "pytorch" and "vllm" in profile.frameworks and vllm.is_file()
    with tempfile.TemporaryDirectory(prefix="cube-lock-") as folder:
        place = Path(folder)
        (place / "pyproject.toml").write_text(PROJECT)
        (place / "wanted.in").write_text("\n".join(framework.requirements) + "\n")
        if shares:
            (place / "shared.txt").write_text(vllm.read_text())
        try:
            argv = compile_args(shared=shares)
            run.run(argv, env={**env, INDEX: index or public_index()}, cwd=place, timeout_s=900)
        except CommandError as error:
            raise StackError(
                f"{framework.name} of {profile.name}: uv found no set of packages",
                hint="correct the requirements in profile.toml, or the network",
                details=error.details or error.message,
            ) from error
        return (place / "lock.txt").read_text()


def compile_args(*, shared: bool) -> list[str]:
    """Return uv's command line. No host name gets into the lock."""
    return [
        find_uv(),
        "pip",
        "compile",
        "wanted.in",
        "--output-file",
        "lock.txt",
        "--quiet",
        # Ours suffices to resolve for another: uv would download one for what it may have to build.
        "--python",
        sys.executable,
        "--no-python-downloads",
        "--universal",
        "--python-version",
        PYTHON,
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
        "--no-emit-index-url",
        "--no-emit-find-links",
        *(["--constraints", "shared.txt"] if shared else []),
    ]


def find_uv() -> str:
    """Return uv: the one that the tool's own lock brings beside our Python, or one on PATH.

    Raises:
        StackError: it is not installed.
    """
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if not found:
        raise StackError("uv: program not found", hint="./setup.sh installs it beside the tool")
    return found
