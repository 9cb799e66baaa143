from pathlib import Path

import pytest

from cube.machines.nspawn import cgroup, network
from cube.machines.nspawn.access import let_in
from cube.machines.nspawn.container import BOOT_LOOP, nspawn_args
from cube.machines.nspawn.network import render_forward, slirp_args
from cube.runtime import log, run
from cube.runtime.errors import MachineError


def test_image_boots_without_touching_it() -> None:
    argv = nspawn_args("build", Path("/run-dir/root"), "/dev/loop3")
    assert argv[:2] == ["systemd-nspawn", "--quiet"]
    assert {"--boot", "--register=no", "--keep-unit", "--bind=/dev/loop3"} <= set(argv)
    assert {"--resolv-conf=off", "--timezone=off", "--link-journal=no"} <= set(argv)
    assert argv[-1] == "cloud-init=disabled"


def test_container_cannot_set_the_clock_or_load_modules() -> None:
    capabilities = next(
        word for word in nspawn_args("m", Path("/r"), "/d") if word.startswith("--capability=")
    )
    assert "CAP_NET_ADMIN" in capabilities
    assert not {"CAP_SYS_TIME", "CAP_SYS_MODULE", "all"} & set(capabilities[13:].split(","))


@pytest.mark.parametrize(("codes", "runs"), [("0", 1), ("7", 1), ("133 0", 2), ("133 133 5", 3)])
def test_boot_loop_goes_round_only_for_a_reboot(tmp_path: Path, codes: str, runs: int) -> None:
    (tmp_path / "codes").write_text("\n".join(codes.split()) + "\n")
    guest = f"cd {tmp_path}; code=$(head -1 codes); sed -i 1d codes; echo run >> runs; exit $code"
    (tmp_path / "group/used/before").mkdir(parents=True)
    argv = ["sh", "-c", BOOT_LOOP, "sh", str(tmp_path / "group"), "sh", "-c", guest]
    last = int(codes.rsplit(maxsplit=1)[-1])
    assert run.run(argv, accept=(last,), timeout_s=10).returncode == last
    assert len((tmp_path / "runs").read_text().split()) == runs
    assert not (tmp_path / "group/used").exists()


def test_ssh_is_forwarded_on_loopback_only() -> None:
    assert '"host_addr": "127.0.0.1", "host_port": 2222' in render_forward(2222)


def test_network_has_the_name_and_the_cell_it_is_for() -> None:
    argv = slirp_args(42, Path("/scratch/slirp.sock"))
    assert argv[-2:] == ["/proc/42/ns/net", network.NIC]
    assert network.NIC.startswith("en")


def test_free_port_is_free() -> None:
    assert 1024 <= network.free_port() < 65536


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0::/user.slice/session-1.scope\n", "/user.slice/session-1.scope"),
        ("9:name=systemd:/\n4:memory:/x\n0::/\n", "/"),
        ("4:memory:/x\n", "/"),
        ("", "/"),
    ],
)
def test_own_group_is_read(text: str, expected: str) -> None:
    assert cgroup.parse_membership(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", Path("/sys/fs/cgroup")),
        ("tmpfs /sys/fs/cgroup tmpfs rw 0 0\nc /u cgroup2 rw 0 0\n", Path("/u")),
        ("cgroup /sys/fs/cgroup/memory cgroup rw 0 0\n", None),
    ],
)
def test_where_version_2_is_mounted(text: str, expected: Path | None) -> None:
    assert cgroup.parse_mount(text) == expected


def test_key_is_let_in_for_the_build_account_only(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "home/cube-build").mkdir(parents=True)
    owner = tmp_path.stat()
    account = f"cube-build:x:{owner.st_uid}:{owner.st_gid}::/home/cube-build:/bin/bash"
    (root / "etc/passwd").write_text(f"root:x:0:0:root:/root:/bin/bash\n{account}\n")
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAA cube\n")
    let_in(root, tmp_path / "key.pub")
    keys = root / "home/cube-build/.ssh/authorized_keys"
    assert keys.read_text() == "ssh-ed25519 AAAA cube\n"
    assert keys.stat().st_mode & 0o777 == 0o600
    assert keys.parent.stat().st_mode & 0o777 == 0o700


def test_sealed_image_has_nobody_to_let_in(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    with pytest.raises(MachineError, match="no account cube-build") as caught:
        let_in(tmp_path, tmp_path / "key.pub")
    assert "vm" in caught.value.hint


@pytest.mark.parametrize("busy", [False, True])
def test_a_control_group_that_stays_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    told: list[str] = []
    monkeypatch.setattr(cgroup, "parse_mount", lambda _: tmp_path)
    monkeypatch.setattr(cgroup, "parse_membership", lambda _: "/")
    monkeypatch.setattr(cgroup, "EMPTY_S", 0.05)
    (tmp_path / "cube-build-1" / "init.scope").mkdir(parents=True)
    if busy:  # a folder that cannot be removed, as one with a process in it
        (tmp_path / "cube-build-1" / "init.scope" / "cgroup.procs").touch()
    with log.listening(lambda event: told.append(event.text)):
        assert cgroup.remove("cube-build-1") is not busy
    assert bool(told) is busy
    assert not busy or "cube-build-1 is left" in told[0]
