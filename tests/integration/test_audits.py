"""Lynis on a machine with layer 1: its index, and each suggestion that docs/security.md answers."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cube.disks import qcow2
from cube.machines import Endpoint, MachineRequest, ssh
from cube.machines.nspawn.container import Containers
from cube.provision import pyinfra_run

#: Least hardening index, in percent.
LEAST_INDEX = 70
PAGE = Path(__file__).parents[2] / "docs/security.md"

#: In a container the kernel is the host's: what only the kernel decides is not the image's.
#: Source: lynis 3.1.4, include/tests_kernel and default.prf, config-data=sysctl.
PROFILE = "\n".join(
    f"skip-test={test}"
    for test in (
        "KRNL-5830",
        *(
            f"KRNL-6000:{key}"
            for key in (
                "dev.tty.ldisc_autoload",
                "fs.protected_fifos",
                "fs.protected_hardlinks",
                "fs.protected_regular",
                "fs.protected_symlinks",
                "kernel.core_uses_pid",
                "kernel.ctrl-alt-del",
                "kernel.kptr_restrict",
            )
        ),
    )
)
#: Unpacked, not installed: the audit judges the image and not a package of its own.
AUDIT = f"""
set -e
folder=$(mktemp -d)
cd "$folder"
apt-get update -q >&2
apt-get download -q lynis >&2
dpkg-deb --extract lynis_*.deb .
cat etc/lynis/default.prf - >cube.prf <<'END'
{PROFILE}
END
cd usr/share/lynis
"$folder/usr/sbin/lynis" audit system --quick --quiet --no-colors --profile "$folder/cube.prf" \\
    --plugindir "$folder/etc/lynis/plugins" --report-file "$folder/report" \\
    --logfile "$folder/log" >&2 </dev/null || true
cat "$folder/report"
rm -rf "$folder"
"""


@pytest.fixture(scope="module")
def endpoint(
    layer1_disk: Path, key_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("audits")
    overlay = folder / "disk.qcow2"
    qcow2.create_overlay(overlay, layer1_disk)
    request = MachineRequest(name="audits", disk=overlay, run_dir=folder / "run", key_file=key_file)
    with Containers().start(request) as machine:
        ssh.execute(machine.endpoint, "sudo systemctl is-system-running --wait", accept=(0, 1))
        pyinfra_run.apply(1, machine)  # the link may be of an older checkout (CUBE_TEST_BUILD)
        yield machine.endpoint


@pytest.fixture(scope="module")
def lynis(endpoint: Endpoint) -> str:
    """The report of an audit. Source: lynis 3.1.4, include/report."""
    done = ssh.execute(endpoint, "sudo sh -s", stdin=AUDIT, timeout_s=600)
    report = done.stdout
    assert "report_datetime_end=" in report, done.stderr
    return report


def test_the_hardening_index_is_high_enough(lynis: str) -> None:
    found = re.search(r"^hardening_index=(\d+)$", lynis, re.MULTILINE)
    assert found
    assert int(found[1]) >= LEAST_INDEX


def test_each_suggestion_is_answered_in_the_docs(lynis: str) -> None:
    made = set(re.findall(r"^(?:suggestion|warning)\[\]=([A-Z]+-?\d*)\|", lynis, re.MULTILINE))
    answered = set(re.findall(r"`([A-Z]{3,4}-\d{4}|LYNIS)`", PAGE.read_text()))
    assert len(made) > 10
    assert made - answered == set()
