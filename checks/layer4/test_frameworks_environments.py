"""Each framework has an environment that holds exactly what its lock says."""

import json
from collections.abc import Callable
from typing import Any

from packaging.utils import canonicalize_name
from testinfra.host import Host

from checks.layer4.conftest import VENVS, locked
from cube.config import Spec
from cube.stack.profile import Profile

Facts = Callable[[str, str], Any]

#: As PyPA's "Dependency specifiers" names them; the rest does not differ between our systems.
ENVIRONMENT = """
import json, platform, sys, os
print(json.dumps({
    "python_full_version": platform.python_version(), "platform_machine": platform.machine(),
    "python_version": ".".join(platform.python_version_tuple()[:2]),
    "platform_python_implementation": platform.python_implementation(),
    "implementation_name": sys.implementation.name, "sys_platform": sys.platform,
    "os_name": os.name, "platform_system": platform.system(), "extra": "",
}))
"""
INSTALLED = """
import importlib.metadata, json
print(json.dumps({d.name: d.version for d in importlib.metadata.distributions()}))
"""


def test_environment_is_whole(host: Host, framework: str) -> None:
    assert host.file(f"{VENVS}/{framework}/requirements.txt").is_file


def test_environment_was_made_from_the_lock(host: Host, stack: Profile, framework: str) -> None:
    text = host.file(f"{VENVS}/{framework}/requirements.txt").content_string
    assert text.split() == stack.lock(framework).read_text().split()


def test_python_is_the_one_of_the_system(host: Host, facts: Facts, framework: str) -> None:
    script = "import sys, json; print(json.dumps(sys._base_executable))"
    base = facts(framework, script)
    assert host.check_output("readlink -f %s", base) == host.check_output(
        "readlink -f /usr/bin/python3"
    )


def test_packages_are_those_of_the_lock(facts: Facts, stack: Profile, framework: str) -> None:
    wanted = locked(stack.lock(framework).read_text(), facts(framework, ENVIRONMENT))
    installed = facts(framework, INSTALLED)
    found = {canonicalize_name(name): version for name, version in installed.items()}
    assert set(found.items()) ^ set(wanted.items()) == set()


def test_packages_agree_with_each_other(host: Host, framework: str) -> None:
    checked = host.run(
        "/opt/cube/tools/bin/uv pip check --no-config --no-cache --python %s",
        f"{VENVS}/{framework}",
    )
    assert checked.rc == 0, checked.stderr


def test_packages_are_for_all_to_read(host: Host, spec: Spec, framework: str) -> None:
    hidden = host.check_output(
        "su --login %s --command %s",
        spec.admin.user,
        f"find {VENVS}/{framework} ! -type l ! -readable",
    )
    assert hidden.splitlines() == []


def test_packages_are_for_root_to_change(host: Host, framework: str) -> None:
    loose = host.check_output(
        "find %s ! -type l '(' ! -user root -o -perm /022 ')'", f"{VENVS}/{framework}"
    )
    assert loose.splitlines() == []


def test_modules_are_compiled(host: Host, framework: str) -> None:
    # A user cannot keep what Python compiles there, and would wait for it at each start.
    script = (
        "n=$(find %s -name '*.py' -path '*/site-packages/*' | wc -l);"
        " c=$(find %s -name '*.pyc' | wc -l); echo $((c * 100 / n))"
    )
    percent = int(host.check_output(script, f"{VENVS}/{framework}", f"{VENVS}/{framework}"))
    assert percent > 95


def test_no_download_is_kept(host: Host) -> None:
    assert not host.file("/opt/cube/cache").exists


def test_no_environment_is_half_made(host: Host) -> None:
    made = set(host.check_output(f"ls -d {VENVS}/*").split())
    whole = {
        path.rpartition("/")[0]
        for path in host.check_output(f"ls {VENVS}/*/requirements.txt").split()
    }
    assert made - whole == set()


#: Print how many names the largest library has that two environments have in common.
SHARED = """
import json, pathlib, sys
first, second = (pathlib.Path(name) for name in sys.argv[1:])
pairs = [(path, second / path.relative_to(first)) for path in first.rglob("*.so*")]
same = [one.stat() for one, other in pairs
        if other.is_file() and one.stat().st_size == other.stat().st_size]
print(json.dumps(max(same, key=lambda stat: stat.st_size).st_nlink if same else None))
"""


def test_environments_share_their_files(host: Host, pair: str) -> None:
    paths = [f"{VENVS}/{name}" for name in pair.split(" and ")]
    assert json.loads(host.check_output("python3 -c %s %s %s", SHARED, *paths)) != 1
