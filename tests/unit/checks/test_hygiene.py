"""Each thing that a golden image must not carry makes its own check fail, and no other one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from checks.hygiene.tree import Tree
from cube.config.mirrors import archives, debian_sources

PROJECT = Path(__file__).parents[3]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0Kf0mJx0Z1mC0Yb0l1u1J0sD0o0y0c0b0a0Z0Y0X0W"
SPEC = f"""\
[image]
hostname = "cube"
[admin]
user = "anna"
ssh_keys = ["{KEY}"]
[network]
apt_mirror = "http://me:s%26cret@mirror:8080/debian"
apt_security_mirror = "https://deb/security"
"""
SOURCES = "".join(f"{line}\n" for line in debian_sources(*archives("debian-13")))
UNIT = "[Unit]\nDescription=x\n[Service]\nExecStart=true\n[Install]\nWantedBy=multi-user.target\n"
MOZILLA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
LENT = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n"

PASSWD = "root:x:0:0::/root:/bin/bash\nanna:x:1000:1000::/home/anna:/bin/bash\n"
SHADOW = "root:*:20000:0:99999:7:::\nanna:!:20000:0:99999:7:::\n"
CLEAN = {
    "etc/os-release": "ID=debian\n",
    "etc/machine-id": "",
    "etc/hostname": "cube\n",
    "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 cube\n::1 localhost ip6-loopback\n",
    "etc/passwd": PASSWD,
    "etc/shadow": SHADOW,
    "etc/group": "anna:x:1000:\n",
    "etc/sudoers": "root ALL=(ALL:ALL) ALL\n",
    "etc/netplan/90-cube.yaml": "network: {ethernets: {all: {match: {name: en*}, dhcp4: true}}}\n",
    "etc/iscsi/initiatorname.iscsi": "GenerateName=yes\n",
    "etc/apt/sources.list": SOURCES,
    "etc/systemd/system-preset/00-cube.preset": "disable off.service\n",
    "usr/lib/systemd/system/off.service": UNIT,
    "usr/lib/systemd/system/on.service": UNIT,
    "usr/lib/systemd/user/on.service": UNIT,
    "etc/apt/apt.conf.d/10cube": '// Acquire::http::Proxy "http://example:1/";\n',
    "etc/ssl/certs/ca-certificates.crt": MOZILLA,
    "usr/share/ca-certificates/mozilla/a.crt": MOZILLA,
    "home/anna/.ssh/authorized_keys": f"{KEY} anna@desk\n",
    "var/log/dpkg.log": "",
    "var/lib/dkms/mok.pub": MOZILLA,
    "var/lib/shim-signed/mok/MOK.der": "a certificate",
    "boot/efi/EFI/BOOT/BOOTX64.EFI": "names PRIVATE KEY, as any program with OpenSSL in it",
    "var/lib/apt/lists/lock": "",
    "var/lib/cube/layers.json": "{}",
}
LINKS = {
    "etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf",
    "var/log/README": "/usr/share/doc/systemd/README.logs",
    "var/lib/dbus/machine-id": "/etc/machine-id",
    "etc/systemd/system/multi-user.target.wants/on.service": "/usr/lib/systemd/system/on.service",
    "etc/systemd/user/multi-user.target.wants/on.service": "/usr/lib/systemd/user/on.service",
    # Leads to this machine's /etc for everybody who does not stay inside the image.
    "etc/sudoers.d": "/etc",
}

#: What is planted, by the check that finds it. None removes the file; "-> X" makes a link.
PLANTS: dict[str, list[dict[str, str | None]]] = {
    "machine id is made at the first boot": [
        {"etc/machine-id": "0123456789abcdef0123456789abcdef\n"},
        {"etc/machine-id": None},
    ],
    "dbus has no machine id of its own": [{"var/lib/dbus/machine-id": "0123456789abcdef\n"}],
    "ssh host keys are absent": [{"etc/ssh/ssh_host_ed25519_key": "x"}],
    "seed and secret are absent (var/lib/systemd/random-seed)": [
        {"var/lib/systemd/random-seed": "x"}
    ],
    "seed and secret are absent (boot/efi/loader/random-seed)": [
        {"boot/efi/loader/random-seed": "x"}
    ],
    "seed and secret are absent (var/lib/urandom/random-seed)": [
        {"var/lib/urandom/random-seed": "x"}
    ],
    "seed and secret are absent (var/lib/systemd/credential.secret)": [
        {"var/lib/systemd/credential.secret": "x"}
    ],
    "dhcp leases are absent": [
        {"var/lib/dhcp/dhclient.en0.leases": "lease {}"},
        {"var/lib/systemd/network/links/2": "x"},
    ],
    "network configuration names no network card": [
        {"etc/netplan/90-cube.yaml": "match: {macaddress: '52:54:00:12:34:56'}"},
        {"etc/udev/rules.d/70-persistent-net.rules": 'ATTR{address}=="52:54:00:12:34:56"'},
    ],
    "hostname is the one asked for": [{"etc/hostname": "builder\n"}, {"etc/hostname": None}],
    "hosts file names the loopback only": [
        {"etc/hosts": "127.0.0.1 localhost\n10.0.2.2 mirror\n"},
        {"etc/hosts": ""},
    ],
    "resolver knows no server of the build host": [{"etc/resolv.conf": "nameserver 10.0.2.3\n"}],
    "no file names a resolver of the build": [
        {"etc/.resolv.conf.systemd-resolved.bak": "nameserver 10.255.255.53\n"},
        {"etc/resolv.conf.dpkg-old": "search lab\nnameserver 10.0.2.3\n"},
    ],
    **{
        f"no engine keeps state at ({pattern})": [{name: "x"}]
        for pattern, name in {
            "var/lib/docker/containers/*": "var/lib/docker/containers/ab/config.v2.json",
            "var/lib/docker/network/files/*": "var/lib/docker/network/files/local-kv.db",
            "var/lib/docker/buildkit/*": "var/lib/docker/buildkit/cache.db",
            "var/lib/docker/volumes/*": "var/lib/docker/volumes/metadata.db",
            "var/lib/docker/swarm/*": "var/lib/docker/swarm/state.json",
            "var/lib/docker/engine-id": "var/lib/docker/engine-id",
            "var/lib/containerd/io.containerd.runtime.v2.task/*/*": (
                "var/lib/containerd/io.containerd.runtime.v2.task/moby/ab/x"
            ),
        }.items()
    },
    "the administrator is the first of the people": [
        {"etc/passwd": PASSWD.replace("1000:1000", "1001:1001")},
        {"etc/passwd": PASSWD.replace("1000:1000", "1000:100")},
    ],
    "iscsi initiator is named at the first boot": [
        {"etc/iscsi/initiatorname.iscsi": "InitiatorName=iqn.2004-10.com.ubuntu:01:abc\n"}
    ],
    **{
        f"build user is not in the account file (etc/{name})": [{f"etc/{name}": line}]
        for name, line in {
            "passwd": f"{PASSWD}cube-build:x:999:999::/:/bin/sh\n",
            "shadow": f"{SHADOW}cube-build:!:20000::::::\n",
            "group": "sudo:x:27:cube-build\n",
            "gshadow": "sudo:*::cube-build\n",
            "subuid": "cube-build:100000:65536\n",
            "subgid": "cube-build:100000:65536\n",
        }.items()
    },
    "build user has no files": [
        {"home/cube-build/x": "x"},
        {"var/lib/systemd/linger/cube-build": ""},
    ],
    "build user is in no sudo rule": [{"etc/sudoers": "cube-build ALL=(ALL) NOPASSWD:ALL\n"}],
    "passwords are recorded": [{"etc/shadow": None}],
    "no account has an empty password": [
        {"etc/shadow": "root::20000::::::\nanna:!:20000::::::\n"},
        {"etc/passwd": PASSWD.replace("root:x:", "root::")},
    ],
    "every password is locked": [{"etc/shadow": SHADOW.replace("*", "$y$j9T$abc")}],
    "admin account exists": [{"etc/passwd": PASSWD.splitlines()[0]}],
    "only keys of the specification are authorized": [
        {"home/anna/.ssh/authorized_keys": f"{KEY}\nssh-ed25519 AAAAother builder\n"},
        {"root/.ssh/authorized_keys": 'command="echo no" ssh-rsa AAAAbuild\n'},
    ],
    "private keys and known hosts are absent": [
        {"home/anna/.ssh/id_ed25519": "x"},
        {"root/.ssh/known_hosts": "x"},
    ],
    "private keys for modules are absent": [
        {"var/lib/dkms/mok.key": "x"},
        {"var/lib/shim-signed/mok/MOK.priv": "x"},
        {"root/backup/mok.pem": "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n"},
        {"boot/efi/EFI/debian/x": "-----BEGIN PRIVATE KEY-----\nAAAA\n"},
        {"etc/dkms/own.key": "x"},
    ],
    "no enrolment of a key was asked for": [{"var/lib/cube/mok-password": "12345678\n"}],
    "image is free of (journal)": [{"var/log/journal/0123/system.journal": ""}],
    "image is free of (apt lists)": [
        {"var/lib/apt/lists/mirror.example_debian_dists_trixie_InRelease": "x"},
        {"var/lib/apt/lists/partial/mirror.example_x": "x"},
    ],
    "image is free of (apt archives)": [
        {"var/cache/apt/archives/hello_1_amd64.deb": "x"},
        {"var/cache/apt/pkgcache.bin": "x"},
    ],
    "image is free of (history)": [
        {"root/.bash_history": "ls"},
        {"home/anna/.python_history": "1"},
    ],
    "image is free of (caches of root and users)": [{"root/.cache/pip/x": "x"}],
    "image is free of (temporary files)": [
        {"tmp/pyinfra-0123abc": "x"},
        {"var/tmp/.hidden/x": "x"},
    ],
    "image is free of (crash dumps)": [{"var/crash/a.crash": "x"}, {"core.123": "x"}],
    "image is free of (installer logs)": [{"var/log/installer/syslog": ""}],
    "image is free of (backups of account files)": [
        {"etc/shadow-": "x"},
        {"var/backups/dpkg.status.0": "x"},
    ],
    "image is free of (results of health checks)": [{"var/lib/cube/health.json": "{}"}],
    "image is free of (versions of files before a trial)": [
        {"var/lib/cube/before/etc/docker/daemon.json": "{}"},
    ],
    "image is free of (files of pyinfra)": [{"root/.pyinfra/x": "x"}],
    "image is free of (mail)": [{"var/mail/root": "x"}],
    "every log is empty": [{"var/log/apt/history.log": "x"}],
    "image has no swap": [
        {"swap.img": "x"},
        {"etc/fstab": "/swapfile none swap sw 0 0\n"},
    ],
    "cloud init has not run": [
        {"var/lib/cloud/instances/i-1/datasource": "x"},
        {"var/lib/cloud/instance": "-> /var/lib/cloud/instances/i-1"},
        {"var/lib/cloud/seed/nocloud/meta-data": "x"},
    ],
    "cloud init is enabled": [{"etc/cloud/cloud-init.disabled": ""}],
    **{
        f"installer has left nothing at ({path})": [{path.replace("*", ".x"): "x"}]
        for path in (
            "etc/cloud/cloud.cfg.d/90-installer-network.cfg",
            "etc/cloud/cloud.cfg.d/99-installer.cfg",
            "etc/cloud/cloud.cfg.d/curtin-preserve-sources.cfg",
            "etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg",
            "etc/netplan/00-installer-config*",
            "etc/netplan/50-cloud-init.yaml",
            "autoinstall*",
            "root/curtin*",
            "usr/sbin/policy-rc.d",
        )
    },
    **{
        f"updates are not masked as they are while building ({timer})": [
            {f"etc/systemd/system/{timer}": "-> /dev/null"}
        ]
        for timer in ("apt-daily.timer", "apt-daily-upgrade.timer")
    },
    "no package cache of the build is configured": [
        {"etc/apt/apt.conf.d/x": 'Acquire::http::Proxy-Auto-Detect "/etc/apt/ask";\n'},
        {"etc/apt/cube-build-cache": "#!/bin/bash\n"},
    ],
    "no proxy is configured": [
        {"etc/apt/apt.conf.d/10cube": 'Acquire::http::Proxy "http://10.0.2.2:3128/";\n'},
        {"etc/environment": "HTTPS_PROXY=http://10.0.2.2:3128\n"},
        {"etc/systemd/system/docker.service.d/p.conf": "Environment=http_proxy=http://a:1\n"},
        {"etc/docker/daemon.json": '{"proxies": {"http-proxy": "http://10.0.2.2:3128"}}'},
    ],
    "packages come from the distribution": [
        {"etc/apt/sources.list": SOURCES.splitlines()[0]},
        {"etc/apt/sources.list": None},
    ],
    "no mirror of the build is named": [
        {"etc/apt/sources.list.d/a.list": "deb http://mirror:8080/debian-x trixie main\n"},
        {"var/lib/a/b": "Deb https://DEB/security"},
        {"root/notes": "http://me:s%26cret@elsewhere/"},
        {"usr/local/etc/netrc": "machine elsewhere login me password s&cret"},
    ],
    "no login of the build is left to apt": [
        {"etc/apt/auth.conf": "machine x login y password z\n"},
        {"etc/apt/auth.conf.d/99x.conf": "machine x login y password z\n"},
    ],
    "a first boot changes no unit": [
        {"usr/lib/systemd/system/new.service": UNIT},
        {"usr/lib/systemd/user/new.service": UNIT},
        {"etc/systemd/system-preset/00-cube.preset": "disable *\n"},
        {"etc/systemd/system-preset/00-cube.preset": None},
    ],
    "no package index of the build is configured": [{"etc/pip.conf": "[global]\nindex-url = x\n"}],
    "build certificates are absent": [
        {
            "usr/local/share/ca-certificates/cube-build-1.crt": LENT,
            "etc/ssl/certs/ca-certificates.crt": MOZILLA + LENT,
        },
        {"etc/ssl/certs/cube-build-1.pem": LENT},
    ],
    "no link leads to a build certificate": [{"etc/ssl/certs/0a1b2c3d.0": "-> cube-build-1.pem"}],
    "every trusted certificate comes from a file of the image": [
        {"etc/ssl/certs/ca-certificates.crt": MOZILLA + LENT}
    ],
}
CASES = [(check, files) for check, cases in PLANTS.items() for files in cases]


def make_tree(root: Path, planted: dict[str, str | None]) -> None:
    links = {name: f"-> {target}" for name, target in LINKS.items()}
    for name, content in {**CLEAN, **links, **planted}.items():
        if content is None:
            continue
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("-> "):
            file.symlink_to(content.removeprefix("-> "))
        else:
            file.write_text(content)


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], dict[str, set[str]]]:
    """All checks, and those that failed by tree; one run of pytest judges every tree."""
    folder = tmp_path_factory.mktemp("trees")
    spec = folder / "cube.toml"
    spec.write_text(SPEC)
    roots = [folder / "clean", *(folder / f"tree{number}" for number in range(len(CASES)))]
    for root, planted in zip(roots, [{}, *(files for _, files in CASES)], strict=True):
        make_tree(root, planted)
    log = folder / "log.jsonl"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--tb=no",
            "-p",
            "no:cacheprovider",
            "checks",
            f"--spec={spec}",
            f"--report-log={log}",
            *(f"--root={root}" for root in roots),
        ],
        cwd=PROJECT,
        check=False,
        capture_output=True,
    )
    titles: set[str] = set()
    failed: dict[str, set[str]] = {root.name: set() for root in roots}
    for entry in map(json.loads, log.read_text().splitlines()):
        if entry["$report_type"] == "TestReport" and entry["when"] == "call":
            title = dict(entry["user_properties"])["title"]
            root = entry["nodeid"].partition("[")[2].partition("-")[0].rstrip("]")
            titles.add(title)
            if entry["outcome"] == "failed":
                failed[root].add(title)
    return titles, failed


def test_a_clean_image_passes(failures: tuple[set[str], dict[str, set[str]]]) -> None:
    assert failures[1]["clean"] == set()


@pytest.mark.parametrize("number", range(len(CASES)), ids=[check for check, _ in CASES])
def test_a_leftover_fails_its_own_check_only(
    failures: tuple[set[str], dict[str, set[str]]], number: int
) -> None:
    assert failures[1][f"tree{number}"] == {CASES[number][0]}


def test_every_check_has_been_seen_failing(
    failures: tuple[set[str], dict[str, set[str]]],
) -> None:
    assert failures[0] == set(PLANTS)


def test_links_stay_inside_the_image(tmp_path: Path) -> None:
    make_tree(tmp_path, {"inside": "here\n", "out": "-> /../../inside", "up": "-> ../../inside"})
    tree = Tree(tmp_path)
    assert tree.lines("out") == ["here"]
    assert tree.lines("up") == ["here"]
    assert tree.find("etc/sudoers.d/*") == []


def test_a_loop_of_links_is_an_error(tmp_path: Path) -> None:
    make_tree(tmp_path, {"a": "-> b", "b": "-> a"})
    with pytest.raises(OSError, match="too many links"):
        Tree(tmp_path).text("a")


def test_find_goes_to_any_depth_and_sees_hidden_files(tmp_path: Path) -> None:
    make_tree(tmp_path, {"var/a/b/.c_d": "x", "var/e_f": "x", "var/loop": "-> ."})
    assert Tree(tmp_path).files("var/**/*_*") == ["var/a/b/.c_d", "var/e_f"]
