"""The seal cleans a disk full of traces, and the proof sees through an image that is not."""

import os
from pathlib import Path

import pytest

from cube.disks import mount, qcow2
from cube.machines import MachineRequest, ssh
from cube.machines.nspawn.container import Containers
from cube.machines.qemu.vm import VirtualMachines
from cube.runtime import run
from cube.runtime.errors import ProofError, SealError
from cube.seal import boot_test, repack, sealing
from cube.seal.boot_test import ProofRequest
from tests.integration.conftest import Built

#: What a build and a life leave on a machine, beyond what its own boot has left already.
PLANT = """set -e
echo 'Acquire::http::Proxy "http://proxy.example:3128";' >/etc/apt/apt.conf.d/99cube-build-proxy
mkdir -p /etc/apt/cube-build && echo planted >/etc/apt/cube-build/sources.list
install -d /usr/local/share/ca-certificates /root/.ssh /root/.cache /var/lib/dhcp /etc/iscsi \
    /var/log/installer /var/crash
openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=cube-test -days 2 \
    -out /usr/local/share/ca-certificates/cube-build-test.crt 2>/dev/null
update-ca-certificates >/dev/null 2>&1
test -e /etc/ssl/certs/cube-build-test.pem
echo planted >/root/.bash_history
echo planted | tee /var/log/secret.log /var/crash/secret /tmp/secret /var/tmp/secret >/dev/null
echo planted | tee /root/.ssh/known_hosts /root/.cache/secret /var/lib/dhcp/leases >/dev/null
echo InitiatorName=iqn.2005-03.org.example:01:planted >/etc/iscsi/initiatorname.iscsi
echo planted | tee /var/log/installer/log /etc/netplan/50-cloud-init.yaml >/dev/null
echo 'datasource_list: [None]' >/etc/cloud/cloud.cfg.d/99-installer.cfg
install -d /var/lib/dkms /var/lib/shim-signed/mok
echo planted | tee /var/lib/dkms/mok.key /var/lib/shim-signed/mok/MOK.priv >/dev/null
echo planted >/var/lib/cube/mok-password
touch /etc/cloud/cloud-init.disabled /etc/shadow- /etc/passwd-
head -c 32 /dev/urandom >/var/lib/systemd/random-seed
cp /home/cube-build/.ssh/authorized_keys /root/.ssh/authorized_keys
head -c 200M /dev/urandom >/var/tmp/junk
sync
"""


@pytest.fixture
def overlay(built: Built, tmp_path: Path) -> Path:
    """A disk to write to, over the last layer."""
    path = tmp_path / "overlay.qcow2"
    qcow2.create_overlay(path, built.store.named("").disk)
    return path


@pytest.fixture
def request_for(overlay: Path, tmp_path: Path, key_file: Path) -> MachineRequest:
    return MachineRequest(
        name="seal-test", disk=overlay, run_dir=tmp_path / "run", key_file=key_file, cpus=1
    )


def used_in(request: MachineRequest, script: str) -> None:
    """Run a script as root in a machine on the disk, and stop the machine."""
    with Containers().start(request) as machine:
        ssh.execute(machine.endpoint, "sudo sh -s", stdin=script)
        machine.shutdown()


def test_a_disk_full_of_traces_becomes_clean_and_small(
    built: Built, request_for: MachineRequest, tmp_path: Path
) -> None:
    used_in(request_for, PLANT)
    sealing.clean(request_for.disk, built.spec, key_file=request_for.key_file, work=tmp_path)
    raw, artifact = tmp_path / "new.raw", tmp_path / "sealed.qcow2"
    repack.repack(request_for.disk, raw, tmp_path / "repack")
    sizes = sealing.flatten(raw, artifact)
    sealing.inspect(artifact, built.spec, work=tmp_path, results=tmp_path)
    with mount.mounted(artifact, tmp_path / "look") as root:
        found = run.run(
            ["grep", "-rlIE", "planted$", root / "etc", root / "var/lib/dhcp", root / "root"],
            accept=(0, 1),
        )
        assert not os.path.lexists(root / "etc/ssl/certs/cube-build-test.pem")
    assert found.stdout == ""
    used = sealing.chain_bytes(request_for.disk)
    assert sizes.after < used - 200 * 1024**2, "deleted blocks are still in the artifact"


def test_build_key_that_a_layer_left_behind_stops_the_seal(
    built: Built, request_for: MachineRequest, tmp_path: Path
) -> None:
    used_in(request_for, "cp /home/cube-build/.ssh/authorized_keys /etc/ssh/left-behind")
    with pytest.raises(SealError, match="/etc/ssh/left-behind") as caught:
        sealing.clean(request_for.disk, built.spec, key_file=request_for.key_file, work=tmp_path)
    assert "/etc/ssh/left-behind" in caught.value.details
    with (
        mount.mounted(request_for.disk, tmp_path / "look") as root,
        pytest.raises(SealError, match="was not cleaned"),
    ):
        sealing.read_mark(root, request_for.disk)


@pytest.mark.exhaustive
def test_clones_of_an_image_that_was_not_sealed_are_refused(
    built: Built, key_file: Path, tmp_path: Path
) -> None:
    link = built.store.named("").disk
    request = ProofRequest(
        artifact=link,
        root_bytes=1,
        build_key=key_file,
        spec=built.spec,
        work=tmp_path,
        results=tmp_path,
        wanted=(),
    )
    with pytest.raises(ProofError, match="machine_id"):
        boot_test.prove(request, VirtualMachines())
