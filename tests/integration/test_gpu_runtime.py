"""Layer 3 on a real machine, from a signed archive of stand-ins: all results are `simulated`."""

import contextlib
import io
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cube import config
from cube.config import Spec
from cube.disks import qcow2
from cube.machines import Endpoint, Machine, MachineRequest, ssh
from cube.machines.nspawn.container import Containers
from cube.provision import pyinfra_run, pytest_run
from cube.runtime import check_report
from cube.runtime.errors import CheckError, ProvisionError
from tests.integration import registry, standin

#: Where the machine itself serves the archive.
PORT = 8099
#: Where it serves images.
REGISTRY, IMAGES = "127.0.0.1:8098", "/srv/registry"
VERSION, NEWER = "1.20.0", "1.21.0"
PLACE = "/srv/stand-in"
DAEMON = "/etc/docker/daemon.json"


@dataclass(frozen=True)
class Box:
    """A machine with layer 1, an archive that it serves to itself, and what layer 3 did."""

    endpoint: Endpoint
    archive: standin.Archive
    spec: Spec

    def sh(self, command: str, accept: tuple[int, ...] = (0,)) -> str:
        """Run a command as root."""
        line = f"sudo sh -c {ssh.quote(command)}"
        done = ssh.execute(self.endpoint, line, accept=accept)
        return done.stdout + done.stderr

    def serve(self) -> None:
        """Bring the archive as it is now, and let apt read it where it knows it already."""
        self.bring(self.archive.folder.parents[2], PLACE)
        self.sh("rm -f /var/cache/apt/archives/*.deb; apt-get update -q || true")

    def bring(self, folder: Path, place: str) -> None:
        """Replace a folder of the machine by one of ours."""
        packed = subprocess.run(
            ["tar", "--create", "--directory", str(folder), "."], check=True, capture_output=True
        ).stdout
        with ssh.connected(self.endpoint) as client, client.open_sftp() as sftp:
            sftp.putfo(io.BytesIO(packed), "/tmp/packed.tar")
        self.sh(
            f"rm -rf {place} && mkdir -p {place} && tar -xf /tmp/packed.tar -C {place}"
            " && rm -f /tmp/packed.tar"
        )

    def start(self, unit: str, command: str, url: str) -> None:
        """Start a server of the machine, and wait until it answers."""
        self.sh(f"systemd-run --quiet --unit={unit} {command}")
        self.sh(f"for n in $(seq 100); do curl -sf {url} && exit 0; sleep 0.1; done; exit 1")

    def apply(self) -> pyinfra_run.Applied:
        return pyinfra_run.apply(3, self, spec=self.spec)

    @property
    def name(self) -> str:
        return "runtime"


def write_spec(folder: Path, fingerprint: str, more: str = "") -> Spec:
    file = folder / "cube.toml"
    file.write_text(
        f"""
[gpu]
mode = "assume"
[stack]
toolkit_url = "http://127.0.0.1:{PORT}"
toolkit_fingerprint = "{fingerprint}"
{more}
"""
    )
    return config.load(file)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[standin.Key]:
    made = standin.Key.make(tmp_path_factory.mktemp("gpg") / "home")
    yield made
    made.close()


@pytest.fixture(scope="module")
def machine(
    layer1_disk: Path, key_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("runtime")
    overlay = folder / "disk.qcow2"
    qcow2.create_overlay(overlay, layer1_disk)
    request = MachineRequest(
        name="runtime", disk=overlay, run_dir=folder / "run", key_file=key_file
    )
    with Containers().start(request) as running:
        ssh.execute(running.endpoint, "sudo systemctl is-system-running --wait", accept=(0, 1))
        pyinfra_run.apply(1, running)  # the link may be of an older checkout (CUBE_TEST_BUILD)
        yield running
        running.shutdown()


@pytest.fixture(scope="module")
def box(machine: Machine, key: standin.Key, tmp_path_factory: pytest.TempPathFactory) -> Box:
    folder = tmp_path_factory.mktemp("archive")
    archive = standin.Archive(folder / "www/stable/deb/amd64", key)
    archive.publish(standin.toolkit(VERSION))
    (folder / "www/gpgkey").write_text(key.export())
    box = Box(machine.endpoint, archive, write_spec(folder, key.fingerprint))
    box.serve()
    server = f"python3 -m http.server --bind 127.0.0.1 {PORT} --directory {PLACE}"
    box.start("stand-in", server, f"127.0.0.1:{PORT}/gpgkey")
    return box


# -- what must fail, before the layer is there; each leaves nothing that the next trips over


def fails(box: Box) -> ProvisionError:
    with pytest.raises(ProvisionError) as caught:
        box.apply()
    return caught.value


def test_a_key_with_another_fingerprint_is_refused(box: Box, tmp_path: Path) -> None:
    other = Box(box.endpoint, box.archive, write_spec(tmp_path, "A" * 40))
    error = fails(other)
    assert "Have the container toolkit's package archive, signed by the known key" in error.message
    assert f"fingerprint {box.archive.key.fingerprint}, expected {'A' * 40}" in error.details
    assert box.sh("ls /etc/apt/keyrings").strip() == ""


def test_a_package_that_is_not_there_is_named(box: Box) -> None:
    box.archive.lose("libnvidia-container1")
    box.serve()
    error = fails(box)
    assert "Install the container toolkit" in error.message
    assert "libnvidia-container1" in error.details
    assert "404" in error.details
    box.archive.publish(standin.toolkit(VERSION))


def test_a_package_with_another_checksum_is_refused(box: Box) -> None:
    box.archive.damage("libnvidia-container1")
    box.serve()
    error = fails(box)
    assert "Install the container toolkit" in error.message
    assert "libnvidia-container1" in error.details
    assert "Hash" in error.details or "hash" in error.details
    box.archive.publish(standin.toolkit(VERSION))


def test_another_version_than_the_profile_s_is_not_installed(box: Box) -> None:
    box.archive.publish(standin.toolkit(NEWER))
    box.serve()
    error = fails(box)
    assert "Install the container toolkit" in error.message
    assert "no installation candidate" in error.details


def test_a_file_that_is_no_json_is_named_and_left_alone(box: Box) -> None:
    box.archive.publish([*standin.toolkit(VERSION), *standin.toolkit(NEWER)])
    box.serve()
    box.sh(
        "cp /etc/docker/daemon.json /root/daemon.json && echo '{\"a\": }' > /etc/docker/daemon.json"
    )
    try:
        error = fails(box)
        assert "Tell Docker of the GPU runtime" in error.message
        assert f"{DAEMON}: Expecting value: line 1 column 7" in error.details
        assert box.sh(f"cat {DAEMON}") == '{"a": }\n'
    finally:
        box.sh(f"mv /root/daemon.json {DAEMON}")


# -- the layer, applied under a running container, beside settings of somebody else


@pytest.fixture(scope="module")
def applied(box: Box) -> pyinfra_run.Applied:
    edit = (
        "import json, pathlib; p = pathlib.Path('/etc/docker/daemon.json');"
        " d = json.loads(p.read_text()); d['log-opts']['max-file'] = '9'; d['debug'] = True;"
        " p.write_text(json.dumps(d))"
    )
    box.archive.publish([*standin.toolkit(VERSION), *standin.toolkit(NEWER)])
    box.serve()
    box.sh(f'python3 -c "{edit}" && systemctl restart docker')
    box.sh(
        "mkdir -p /tmp/image/usr && cd /tmp/image && for f in bin sbin lib lib64; do"
        " ln -sfn usr/$f $f; done && tar -c . | docker import - busy"
        " && docker run --detach --name busy --ulimit memlock=65536 --ulimit nofile=1024"
        " --volume /usr:/usr:ro busy sleep infinity"
    )
    box.sh("docker inspect --format '{{.State.StartedAt}}' busy > /root/started")
    return box.apply()


def test_the_layer_is_applied_and_nothing_changes_again(
    box: Box, applied: pyinfra_run.Applied
) -> None:
    assert applied.reason.startswith('gpu.mode = "assume"')
    assert pyinfra_run.prove_idempotent(3, box, spec=box.spec).changed == ()


def test_layer_1_takes_nothing_away(box: Box, applied: pyinfra_run.Applied) -> None:
    assert pyinfra_run.prove_idempotent(1, box, spec=box.spec).changed == ()
    assert '"nvidia"' in box.sh("docker info --format '{{json .Runtimes}}'")


def test_what_somebody_set_stays(box: Box, applied: pyinfra_run.Applied) -> None:
    settings = json.loads(box.sh(f"cat {DAEMON}"))
    assert settings["log-opts"]["max-file"] == "9"
    assert settings["debug"] is True
    assert settings["live-restore"] is True
    assert settings["runtimes"]["nvidia"]["path"] == "nvidia-container-runtime"


def test_a_container_that_ran_runs_on(box: Box, applied: pyinfra_run.Applied) -> None:
    now = box.sh("docker inspect --format '{{.State.StartedAt}} {{.State.Running}}' busy")
    assert now.split() == [box.sh("cat /root/started").strip(), "true"]


def test_a_container_runs_on_the_nvidia_runtime(box: Box, applied: pyinfra_run.Applied) -> None:
    said = box.sh(
        "docker run --rm --runtime nvidia --ulimit memlock=65536 --ulimit nofile=1024"
        " --volume /usr:/usr:ro busy echo it-runs"
    )
    assert said.strip() == "it-runs"


def test_an_upgrade_is_refused(box: Box, applied: pyinfra_run.Applied) -> None:
    listed = box.sh("apt-get update -q && apt-cache policy nvidia-container-toolkit")
    assert f"{NEWER}-1" in listed
    box.sh("rm /etc/apt/preferences.d/cube-nvidia-container-toolkit")
    try:
        said = box.sh("apt-get --assume-no full-upgrade", accept=(0, 1))
    finally:
        assert [name.split(": ")[1] for name in box.apply().changed] == [
            f"Pin the container toolkit to {VERSION}"
        ]
    assert "kept back" in said
    assert f"{VERSION}-1" in box.sh("dpkg-query -W nvidia-container-toolkit")


def test_an_archive_that_changes_its_key_is_refused_until_its_fingerprint_is_told(
    box: Box, applied: pyinfra_run.Applied, tmp_path: Path
) -> None:
    stranger = standin.Key.make(tmp_path / "home")
    public = box.archive.folder.parents[2] / "gpgkey"
    known = public.read_text()
    try:
        standin.Archive(box.archive.folder, stranger).sign()
        public.write_text(stranger.export())
        box.serve()
        said = box.sh("apt-get -o APT::Update::Error-Mode=any update 2>&1", accept=(100,))
        told = Box(box.endpoint, box.archive, write_spec(tmp_path, stranger.fingerprint))
        changed = [name.split(": ")[1] for name in told.apply().changed]
        box.sh("apt-get -o APT::Update::Error-Mode=any update")
    finally:
        box.archive.sign()
        public.write_text(known)
        box.serve()
        stranger.close()
    assert "NO_PUBKEY" in said or "Missing key" in said
    assert changed == ["Have the container toolkit's package archive, signed by the known key"]
    assert [name.split(": ")[1] for name in box.apply().changed] == changed


def judge(box: Box, folder: Path) -> tuple[check_report.Check, ...]:
    """Return what layer 3's checks find."""
    with contextlib.suppress(CheckError):
        pytest_run.run_checks(
            pytest_run.CheckRun(
                target=box.endpoint,
                select=["checks/layer3"],
                spec_file=box.spec.file,
                results_dir=folder,
                name="run",
            )
        )
    return check_report.read_entries((folder / "run.jsonl").read_text().splitlines())


def test_the_checks_pass_and_say_that_they_are_simulated(
    box: Box, applied: pyinfra_run.Applied, tmp_path: Path
) -> None:
    checks = judge(box, tmp_path)
    assert {check.title: check.reason for check in checks if check.outcome == "failed"} == {}
    assert {check.evidence for check in checks} == {"simulated"}
    assert [check for check in checks if check.outcome == "passed"]
    assert [check for check in checks if check.outcome == "deferred"]


def test_an_archive_of_images_is_loaded_once(
    box: Box, applied: pyinfra_run.Applied, tmp_path: Path
) -> None:
    archive = tmp_path / "busy.tar"
    box.sh("docker save -o /tmp/busy.tar busy && chmod 644 /tmp/busy.tar")
    with ssh.connected(box.endpoint) as client, client.open_sftp() as sftp:
        sftp.get("/tmp/busy.tar", str(archive))
    box.sh("docker rm -f busy && docker image rm busy")
    loaded = write_spec(tmp_path, box.archive.key.fingerprint, f'images = ["{archive}"]')
    with_image = Box(box.endpoint, box.archive, loaded)
    assert [name.split(": ")[1] for name in with_image.apply().changed] == ["Load container images"]
    assert "busy" in box.sh("docker images")
    assert with_image.apply().changed == ()


@pytest.fixture(scope="module")
def images(box: Box, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Names of an image in a registry: as it is, and by a digest that is not its own."""
    folder = tmp_path_factory.mktemp("images") / "registry"
    genuine = registry.publish(folder, "tiny")
    forged = registry.forge(folder, "tiny", genuine)
    box.bring(folder, IMAGES)
    server = f"--working-directory={IMAGES} python3 server.py {REGISTRY.split(':')[1]}"
    box.start("registry", server, f"{REGISTRY}/v2/tiny/manifests/{genuine}")
    return f"{REGISTRY}/tiny@{genuine}", f"{REGISTRY}/tiny@{forged}"


def asking(box: Box, folder: Path, image: str) -> Box:
    """Return the machine with an image in its specification."""
    wanted = write_spec(folder, box.archive.key.fingerprint, f'images = ["{image}"]')
    return Box(box.endpoint, box.archive, wanted)


def test_an_image_is_pulled_by_its_digest_once(
    box: Box, applied: pyinfra_run.Applied, images: tuple[str, str], tmp_path: Path
) -> None:
    name, _ = images
    asked = asking(box, tmp_path, name)
    changed = [op.split(": ")[1] for op in asked.apply().changed]
    assert changed[0] == "Begin to pull container images"
    assert set(changed[1:]) <= {"Pull container images"}  # it may have come before
    assert name in box.sh("journalctl --output=cat --unit=cube-images.service")
    assert name in box.sh(f"docker image inspect --format '{{{{json .RepoDigests}}}}' {name}")
    said = box.sh(
        "docker run --rm --ulimit memlock=65536 --ulimit nofile=1024 --volume /usr:/usr:ro"
        f" --entrypoint /usr/lib64/ld-linux-x86-64.so.2 {name} --library-path"
        " /usr/lib/x86_64-linux-gnu /usr/bin/cat /etc/proof"
    )
    assert said == "pulled\n"
    assert asked.apply().changed == ()


def test_an_image_of_another_digest_is_refused(
    box: Box, applied: pyinfra_run.Applied, images: tuple[str, str], tmp_path: Path
) -> None:
    _, name = images
    error = fails(asking(box, tmp_path, name))
    assert "Pull container images" in error.message
    assert f"manifest verification failed for digest {name.split('@')[1]}" in error.details
    assert f"{name}: cannot be pulled, 3 attempts" in error.details
    assert box.sh(f"docker image inspect {name} 2>&1", accept=(1,))


def test_an_image_that_cannot_be_pulled_is_named(
    box: Box, applied: pyinfra_run.Applied, tmp_path: Path
) -> None:
    name = f"127.0.0.1:1/nothing@sha256:{'0' * 64}"
    error = fails(asking(box, tmp_path, name))
    assert "Pull container images" in error.message
    assert f"{name}: cannot be pulled, 3 attempts" in error.details


def test_the_checks_find_settings_of_layer_1_that_were_spoiled(
    box: Box, applied: pyinfra_run.Applied, tmp_path: Path
) -> None:
    spoil = (
        "import json, pathlib; p = pathlib.Path('/etc/docker/daemon.json');"
        " d = json.loads(p.read_text()); d['log-opts']['max-size'] = '-1';"
        " d['default-shm-size'] = '64m'; p.write_text(json.dumps(d))"
    )
    box.sh(f'cp {DAEMON} /root/daemon.json && python3 -c "{spoil}"')
    try:
        found = judge(box, tmp_path)
    finally:
        box.sh(f"mv /root/daemon.json {DAEMON}")
    assert {check.title for check in found if check.outcome == "failed"} == {
        "containers still get shared memory for frameworks",
        "log of a new container is still limited by (max-size)",
    }
