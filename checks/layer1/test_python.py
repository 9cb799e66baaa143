"""Python as the frameworks want it: the distribution's, with environments and uv."""

import pytest
from testinfra.host import Host

from cube.config import Spec

#: Source: packages.debian.org/trixie/python3 and packages.ubuntu.com/noble/python3.
VERSIONS = {"debian": "3.13", "ubuntu": "3.12"}


def test_version_is_the_one_of_the_release(host: Host) -> None:
    version = host.check_output("python3 -c 'import platform; print(platform.python_version())'")
    assert version.rpartition(".")[0] == VERSIONS[host.system_info.distribution]


def test_headers_are_there_to_compile_against(host: Host) -> None:
    script = "import sysconfig; print(sysconfig.get_path('include') + '/Python.h')"
    assert host.file(host.check_output("python3 -c %s", script)).exists


def test_environment_with_pip_can_be_made(host: Host, spec: Spec) -> None:
    made = host.run(
        "su --login %s --command %s",
        spec.admin.user,
        "d=$(mktemp -d) && python3 -m venv $d && $d/bin/pip --version; r=$?; rm -rf $d; exit $r",
    )
    assert made.rc == 0, made.stderr


@pytest.mark.parametrize("tool", ["uv", "uvx", "pipx"])
def test_tool_answers_to_a_login(host: Host, spec: Spec, tool: str) -> None:
    command = f"{tool} --version"
    assert host.run("su --login %s --command %s", spec.admin.user, command).rc == 0


def test_uv_makes_an_environment_of_the_python_of_the_system(host: Host, spec: Spec) -> None:
    made = host.run(
        "su --login %s --command %s",
        spec.admin.user,
        "d=$(mktemp -d) && uv venv --offline --no-managed-python $d/e && "
        "$d/e/bin/python -c 'import sys; print(sys.version)'; r=$?; rm -rf $d; exit $r",
    )
    assert made.rc == 0, made.stderr


def test_pip_leaves_the_python_of_the_system_alone(host: Host) -> None:
    # Source: PEP 668.
    script = "import sysconfig; print(sysconfig.get_path('stdlib') + '/EXTERNALLY-MANAGED')"
    assert host.file(host.check_output("python3 -c %s", script)).exists
