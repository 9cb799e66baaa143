"""What the checks of layer 4 share: each framework of the specification, and a try in it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from testinfra.backend.base import CommandResult
from testinfra.host import Host

from checks.conftest import SPEC
from cube.config import Spec
from cube.stack import profile
from cube.stack.profile import Framework, Profile

VENVS = "/opt/cube/venvs"
HERE = Path(__file__).parent
LAUNCHER = "/usr/local/bin/cube-python"

#: As an import leaves caches behind, its home is a folder that goes away with it.
TRY = "d=$(mktemp -d); HOME=$d {} %s -B -c %s; r=$?; rm -rf $d; exit $r"

Try = Callable[[str, str], CommandResult]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a check once for each framework, or pair of them, that it is about."""
    spec = metafunc.config.stash[SPEC]
    for name, cases in subjects(spec).items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, cases, scope="module")


def subjects(spec: Spec) -> dict[str, list[Any]]:
    """Return what checks are about, by the name that they ask for it.

    `framework` is any, `torch_framework` one with a torch that was built for CUDA, `kernel` one
    that Jupyter is told of, `pair` the first and the last.
    """
    chosen = profile.load(spec.stack.profile)
    names = [name for name in spec.stack.frameworks if name in chosen.frameworks]
    cuda = [name for name in names if chosen.frameworks[name].cuda]
    return {
        "framework": names,
        "torch_framework": [name for name in cuda if "\ntorch==" in chosen.lock(name).read_text()],
        "kernel": names if spec.stack.jupyter else [],
        "pair": [f"{names[0]} and {names[-1]}"] if len(names) > 1 else [],
    }


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drop checks that are about nothing here. Source: pytest, empty_parameter_set_mark."""
    idle = [item for item in items if item.path.parent == HERE and is_about_nothing(item)]
    items[:] = [item for item in items if item not in idle]
    config.hook.pytest_deselected(items=idle)


def is_about_nothing(item: pytest.Item) -> bool:
    """Tell whether pytest found no case for a check."""
    reasons = [str(mark.kwargs.get("reason")) for mark in item.iter_markers("skip")]
    return any(reason.startswith("got empty parameter set") for reason in reasons)


@pytest.fixture(scope="session")
def stack(spec: Spec) -> Profile:
    """The versions that were chosen to work together."""
    return profile.load(spec.stack.profile)


@pytest.fixture(scope="session")
def frameworks(spec: Spec, stack: Profile) -> dict[str, Framework]:
    """The frameworks that were asked for."""
    return {name: stack.frameworks[name] for name in spec.stack.frameworks}


@pytest.fixture(scope="module")
def attempt(host: Host) -> Try:
    """Run Python code in an environment, as a person would."""

    def run(name: str, code: str) -> CommandResult:
        return host.run(TRY.format(LAUNCHER), name, code)

    return run


@pytest.fixture(scope="module")
def facts(host: Host) -> Callable[[str, str], Any]:
    """Return what an expression is worth in an environment; each is asked once."""
    known: dict[tuple[str, str], Any] = {}

    def ask(name: str, code: str) -> Any:  # noqa: ANN401 (JSON)
        if (name, code) not in known:
            printed = host.check_output(TRY.format(LAUNCHER), name, code)
            known[name, code] = json.loads(printed.splitlines()[-1])
        return known[name, code]

    return ask


def locked(text: str, environment: dict[str, str]) -> dict[str, str]:
    """Return name and version of each package that a lock wants in such an environment.

    Args:
        text: the lock. Source: pip, "Requirements File Format".
        environment: markers and their values. Source: PyPA, "Dependency specifiers".
    """
    words = [line.split("\\")[0].strip() for line in text.splitlines() if "==" in line[:200]]
    wanted = [Requirement(word) for word in words if word[0] not in "#-"]
    return {
        canonicalize_name(one.name): next(iter(one.specifier)).version
        for one in wanted
        if one.marker is None or one.marker.evaluate(environment)
    }
