import dataclasses
import re
from pathlib import Path

import pytest

from cube.machines.qemu.domain import Disk, Domain, render_domain
from cube.machines.qemu.firmware import Uefi

GOLDEN = Path(__file__).parents[3] / "golden"
UEFI = Uefi(code=Path("/firmware/code.fd"), variables=Path("/run-dir/variables.fd"))
SECURE = dataclasses.replace(UEFI, secure_boot=True)
DOMAIN = Domain(
    name="build",
    accelerator="tcg",
    emulator=Path("/usr/bin/qemu-system-x86_64"),
    cpus=2,
    memory_mib=1024,
    disks=(Disk(file=Path("/chain/layer1.qcow2"), format="qcow2"),),
    seed=Path("/run-dir/seed.iso"),
    console=Path("/run-dir/console.log"),
    ssh_port=2222,
    uefi=None,
)


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("domain-tcg-bios.xml", DOMAIN),
        ("domain-kvm-uefi.xml", dataclasses.replace(DOMAIN, accelerator="kvm", uefi=UEFI)),
        ("domain-tcg-secure-boot.xml", dataclasses.replace(DOMAIN, uefi=SECURE)),
    ],
)
def test_domain_is_as_the_golden_one(
    request: pytest.FixtureRequest, name: str, domain: Domain
) -> None:
    if request.config.getoption("--regenerate-golden", default=False):
        (GOLDEN / name).write_text(render_domain(domain))
    assert render_domain(domain) == (GOLDEN / name).read_text()


@pytest.mark.parametrize("uefi", [None, UEFI])
def test_system_management_mode_is_left_alone_without_secure_boot(uefi: Uefi | None) -> None:
    xml = render_domain(dataclasses.replace(DOMAIN, uefi=uefi))
    assert "smm" not in xml
    assert "secure=" not in xml


def test_first_disk_is_the_one_that_boots() -> None:
    more = Disk(file=Path("/extra.raw"), format="raw")
    xml = render_domain(dataclasses.replace(DOMAIN, disks=(*DOMAIN.disks, more)))
    assert re.findall(r'dev="(vd.)"', xml) == ["vda", "vdb"]
    assert xml.index("layer1.qcow2") < xml.index("extra.raw")


def test_names_are_escaped() -> None:
    xml = render_domain(dataclasses.replace(DOMAIN, console=Path("/a & b/<c>.log")))
    assert "/a &amp; b/&lt;c&gt;.log" in xml


def test_ssh_is_forwarded_on_loopback_only() -> None:
    assert re.findall(r"hostfwd=[^\"]*", render_domain(DOMAIN)) == [
        "hostfwd=tcp:127.0.0.1:2222-:22"
    ]
