"""test-docker-gpu.sh before a fake docker, which keeps what it was asked in a file."""

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from guest.suites.docker.client import WAYS
from guest.suites.docker.image import make_archive
from guest.suites.docker.program import NAMES
from tests.unit.guest.conftest import Box, failed, statuses

from .running import detail

UUIDS = [f"GPU-{n}0000000-0000-0000-0000-000000000000" for n in range(4)]
LISTED = "\n".join(f"GPU {n}: NVIDIA GeForce RTX 5090 (UUID: {one})" for n, one in enumerate(UUIDS))

#: A client whose containers do what FAULT does not spoil.
DOCKER = r"""
echo "$*" >> "$CUBE_ROOT/asked"
gpus() {
    case "$*" in *"--gpus all"*|*nvidia.com/gpu=all*|*VISIBLE_DEVICES=all*) true ;; *) false ;; esac
}
list() { cat "$CUBE_ROOT/listed"; }
case "$1 $*" in
info*) cat "$CUBE_ROOT/info" ;;
"image "*" ls "*) cat "$CUBE_ROOT/images" 2>/dev/null || true ;;
"image "*" inspect "*) [ "$FAULT" != no_image ] && echo sha256:0123456789abcdef ;;
image*|rm*|volume*) ;;
import*) tar -tf "$2" >/dev/null && [ "$FAULT" != import ] ;;
run*--detach*)
    prev= ; for word in "$@"; do [ "$prev" = --name ] && name=$word; prev=$word; done
    gpus "$@" && touch "$CUBE_ROOT/with-$name"
    [ "$FAULT" != start ] || { echo "docker: no runtime" >&2; exit 125; } ;;
run*nvidia-smi*)
    case "$FAULT $*" in
    "gpus "*"--gpus all"*|"cdi "*nvidia.com*|"runtime "*"--runtime nvidia"*)
        echo 'docker: could not select device driver "" with capabilities' >&2; exit 125 ;;
    "short "*) list | head -n 3 ;;
    *) gpus "$@" && list ;;
    esac ;;
run*) [ "$FAULT" != plain ] || exit 1; echo it-runs ;;
exec*nvidia-smi*)
    if [ "$FAULT" = reload -a -e "$CUBE_ROOT/reloaded" ]; then
        echo "Failed to initialize NVML: Unknown Error"; exit 255
    fi
    [ "$FAULT" = shared ] && exit 1
    [ -e "$CUBE_ROOT/with-$2" ] && list ;;
exec*) [ "$FAULT" = dead -a -e "$CUBE_ROOT/reloaded" ] && exit 1; echo alive ;;
esac
"""


@pytest.fixture
def docker(box: Box) -> Box:
    """A box whose engine answers and knows the nvidia runtime; no GPU."""
    inform(box, "runc", "nvidia")
    box.write("listed", f"{LISTED}\n")
    box.fake_script("docker", DOCKER)
    box.fake_script("systemctl", 'touch "$CUBE_ROOT/reloaded"')
    box.fake("nvidia-ctk", "NVIDIA Container Toolkit CLI version 1.20.0")
    box.fake("nvidia-smi", LISTED)
    return box


@pytest.fixture
def gpus(docker: Box) -> Box:
    docker.plug_gpus(4)
    return docker


def inform(box: Box, *runtimes: str, **more: object) -> None:
    told = {"ServerVersion": "28.2.2", "CgroupVersion": "2", "CgroupDriver": "systemd"}
    box.write_json("info", {**told, "Runtimes": {name: {} for name in runtimes}, **more})


def judge(box: Box, *arguments: str, fault: str = "") -> tuple[int, dict[str, Any]]:
    done = box.run("test-docker-gpu.sh", "--json", *arguments, FAULT=fault)
    data: dict[str, Any] = json.loads(done.stdout)
    assert set(statuses(data)) == set(NAMES)
    return done.returncode, data


def test_four_good_gpus_pass(gpus: Box) -> None:
    code, data = judge(gpus)
    assert (code, failed(data)) == (0, [])
    assert data["counts"]["skip"] == 0
    assert data["evidence"] == "simulated"
    assert data["versions"] == {"docker": "28.2.2", "nvidia-container-toolkit": "1.20.0"}


def test_without_a_gpu_what_needs_one_is_deferred(docker: Box) -> None:
    code, data = judge(docker)
    assert (code, failed(data)) == (0, [])
    deferred = [one["name"] for one in data["checks"] if one["detail"].startswith("deferred: ")]
    assert deferred == [*WAYS, "GPUs shared", "GPU container survives daemon-reload"]
    assert data["counts"]["ok"] == 6


def test_what_was_started_is_removed(gpus: Box) -> None:
    judge(gpus)
    asked = (gpus.root / "asked").read_text().splitlines()
    names = {
        words[words.index("--name") + 1] for words in map(str.split, asked) if "--name" in words
    }
    (removed,) = [line.split()[3:] for line in asked if line.startswith("rm ")]
    assert set(removed) == names
    for what in ("image", "volume"):
        assert any(line.startswith(f"{what} rm --force cube-suite-") for line in asked)


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ("import", ["image"]),
        ("plain", ["container runs"]),
        ("gpus", ["GPUs by --gpus"]),
        ("cdi", ["GPUs by CDI"]),
        ("runtime", ["GPUs by the nvidia runtime"]),
        ("short", list(WAYS)),
        ("reload", ["GPU container survives daemon-reload"]),
        ("dead", ["container survives daemon-reload"]),
    ],
)
def test_each_fault_fails_its_own_check(gpus: Box, fault: str, names: list[str]) -> None:
    code, data = judge(gpus, fault=fault)
    assert (code, failed(data)) == (1, names)


def test_containers_that_cannot_share_are_found(gpus: Box) -> None:
    _, data = judge(gpus, fault="shared")
    assert "GPUs shared" in failed(data)


def test_a_lost_gpu_names_the_way_that_keeps_it(gpus: Box) -> None:
    _, data = judge(gpus, fault="reload")
    told = detail(data, "GPU container survives daemon-reload")
    assert "--gpus: lost its GPUs" in told


def test_a_warning_about_one_gpu_hides_no_other(gpus: Box) -> None:
    warning = "WARNING: infoROM is corrupted at gpu 0000:C1:00.0"
    gpus.fake("nvidia-smi", f"{LISTED}\n{warning}", code=14)
    code, data = judge(gpus)
    assert (code, failed(data)) == (0, [])


def test_without_a_driver_every_way_fails(gpus: Box) -> None:
    gpus.fake("nvidia-smi", "NVIDIA-SMI has failed", code=9)
    code, data = judge(gpus)
    assert code == 1
    wanted = [*WAYS, "GPUs shared", "GPU container survives daemon-reload"]
    assert failed(data) == wanted
    assert "exit code 9" in detail(data, "GPUs by CDI")


def test_an_unknown_runtime_fails_where_a_gpu_is(gpus: Box) -> None:
    inform(gpus, "runc")
    _, data = judge(gpus)
    assert failed(data) == ["nvidia runtime registered", "nvidia runtime runs"]


def test_an_unknown_runtime_fails_where_layer_3_is(docker: Box) -> None:
    inform(docker, "runc")
    assert failed(judge(docker)[1]) == []
    docker.install(3)
    assert failed(judge(docker)[1]) == ["nvidia runtime registered", "nvidia runtime runs"]


def test_without_docker_it_does_not_run(box: Box) -> None:
    empty = str(box.bin)
    for name in ("python3", "bash"):
        (box.bin / name).symlink_to(f"/usr/bin/{name}")
    (box.bin / "ps").unlink()
    done = box.run("test-docker-gpu.sh", "--json", PATH=empty)
    data = json.loads(done.stdout)
    assert done.returncode == 77
    assert "there is no docker on this box" in data["reason"]


def test_an_engine_that_is_down_fails(docker: Box) -> None:
    docker.fake("docker", "Cannot connect to the Docker daemon", code=1)
    code, data = judge(docker)
    assert (code, failed(data)) == (1, ["daemon answers"])
    assert "Cannot connect" in detail(data, "daemon answers")


def test_a_user_whom_the_socket_refuses_cannot_run_it(docker: Box) -> None:
    docker.fake("docker", "permission denied while trying to connect", code=1)
    done = docker.run("test-docker-gpu.sh")
    assert done.returncode == 2
    assert "sudo, or the group docker" in done.stderr


def test_an_engine_that_hangs_is_given_up(docker: Box) -> None:
    docker.fake_script("docker", "exec sleep 60")
    code, data = judge(docker, "--limit", "1")
    assert (code, failed(data)) == (1, ["daemon answers"])
    assert "no answer within" in detail(data, "daemon answers")


def test_an_image_of_cuda_that_is_there_is_taken(gpus: Box) -> None:
    gpus.write("images", "nvidia/cuda:13.0.3-base-ubuntu24.04\n")
    code, data = judge(gpus)
    assert code == 0
    assert "nvidia/cuda:13.0.3-base" in detail(data, "image")
    assert ":/usr:" not in (gpus.root / "asked").read_text()


def test_an_image_that_is_not_there_is_named(docker: Box) -> None:
    code, data = judge(docker, "--image", "no/such", fault="no_image")
    assert (code, failed(data)) == (1, ["image"])
    assert "docker pull no/such" in detail(data, "image")


def test_the_image_that_is_made_has_links_into_usr(tmp_path: Path) -> None:
    make_archive(tmp_path / "links.tar")
    with tarfile.open(tmp_path / "links.tar") as archive:
        links = {one.name: one.linkname for one in archive if one.issym()}
    assert links == {name: f"usr/{name}" for name in ("bin", "sbin", "lib", "lib64")}


@pytest.mark.skipif(os.geteuid() != 0, reason="root reloads systemd")
def test_the_wrapper_passes_signals_and_codes(docker: Box) -> None:
    assert docker.run("test-docker-gpu.sh", "--image").returncode == 2
