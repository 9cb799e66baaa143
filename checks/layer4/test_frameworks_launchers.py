"""People get into the environments: by the launcher, and from Jupyter when that is asked for."""

import json
from collections.abc import Callable

from testinfra.backend.base import CommandResult
from testinfra.host import Host

from checks.layer4.conftest import LAUNCHER
from cube.config import Spec

Try = Callable[[str, str], CommandResult]
#: Source: Jupyter, "Common directories and file locations", data, Linux.
KERNELS = "/usr/local/share/jupyter/kernels"


def test_launcher_is_for_all_to_run(host: Host, spec: Spec) -> None:
    assert host.run("su --login %s --command cube-python", spec.admin.user).rc == 0


def test_launcher_lists(host: Host, framework: str) -> None:
    listed = [line.split()[0] for line in host.check_output(LAUNCHER).splitlines()]
    assert framework in listed


def test_launcher_passes_the_exit_code_on(attempt: Try, framework: str) -> None:
    assert attempt(framework, "raise SystemExit(7)").rc == 7


def test_launcher_runs_programs_of_the_environment(host: Host, framework: str) -> None:
    told = host.check_output(
        f"{LAUNCHER} %s -- python -c 'import sys; print(sys.prefix)'", framework
    )
    assert told == f"/opt/cube/venvs/{framework}"


def test_launcher_refuses_what_is_not_there(host: Host) -> None:
    assert host.run(f"{LAUNCHER} no-such-framework").rc == 127


def test_jupyter_is_told_of_a_framework(host: Host, kernel: str) -> None:
    argv = json.loads(host.file(f"{KERNELS}/{kernel}/kernel.json").content_string)["argv"]
    assert argv[:2] == [LAUNCHER, kernel]


def test_kernel_can_be_imported(attempt: Try, kernel: str) -> None:
    done = attempt(kernel, "import ipykernel_launcher")
    assert done.rc == 0, done.stderr
