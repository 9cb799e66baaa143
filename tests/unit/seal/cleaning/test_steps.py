"""Each step removes its own traces and nothing else."""

import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from cube.config import load_text
from cube.config.mirrors import remains
from cube.runtime.errors import CommandError, SealError
from cube.seal.cleaning import build, identity, leftovers, steps
from cube.seal.cleaning.settings import Settings, settings_of

from .conftest import SETTINGS, Folder

#: By step: what it removes, and what it leaves beside that.
TRACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "swap": (("swap.img", "swap.img.new"), ("vmlinuz",)),
    "installer": (
        ("var/log/installer/log", "root/curtin-install.log", "autoinstall.yaml",
         "etc/netplan/00-installer-config.yaml", "etc/cloud/cloud.cfg.d/99-installer.cfg",
         "usr/sbin/policy-rc.d"),
        ("etc/netplan/50-cube.yaml", "etc/cloud/cloud.cfg.d/05_logging.cfg"),
    ),
    "resolvers": (
        ("etc/.resolv.conf.systemd-resolved.bak", "etc/resolv.conf.dhclient-new"),
        ("etc/hosts",),
    ),
    "container engines": (
        ("var/lib/docker/containers/1/config.json", "var/lib/containerd/tmp/x"),
        ("var/lib/dpkg/status",),
    ),
    "update timers": (
        ("etc/systemd/system/apt-daily.timer", "etc/systemd/system/apt-daily-upgrade.timer"),
        ("etc/systemd/system/nftables.service",),
    ),
    "homes": (
        ("root/.bash_history", "home/ada/.cache/x", "home/ada/.ssh/known_hosts",
         "root/.pyinfra-1/x", "home/ada/.sudo_as_admin_successful"),
        ("home/ada/.ssh/authorized_keys", "home/ada/.bashrc"),
    ),
    "identity": (
        ("var/lib/dbus/machine-id", "etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_rsa_key.pub",
         "etc/nvme/hostid", "var/lib/docker/engine-id"),
        ("etc/ssh/sshd_config", "etc/machine-id"),
    ),
    "seeds and secrets": (
        ("var/lib/systemd/random-seed", "var/lib/systemd/credential.secret",
         "var/lib/dkms/mok.key", "var/lib/systemd/timers/stamp-x.timer"),
        ("var/lib/dkms/nvidia/source",),
    ),
    "network state": (
        ("var/lib/dhcp/leases", "etc/udev/rules.d/70-persistent-net.rules", "etc/lvm/backup/cube"),
        ("etc/udev/rules.d/60-nvidia.rules", "etc/lvm/lvm.conf"),
    ),
    "packages": (
        ("var/cache/apt/archives/x.deb", "var/cache/apt/archives/partial/y.deb",
         "var/cache/apt/pkgcache.bin", "var/lib/apt/lists/x_Packages", "var/lib/dpkg/status-old",
         "var/backups/dpkg.status.0", "etc/passwd-", "etc/ufw/user.rules.20260131_120000"),
        ("var/cache/apt/archives/lock", "etc/passwd", "etc/ufw/user.rules", "var/lib/dpkg/status"),
    ),
    "logs": (
        ("var/log/syslog", "var/log/apt/history.log", "var/log/journal/id/system.journal",
         "var/crash/x", "var/mail/ada", "var/lib/cube/health.json", "core.123",
         "var/lib/cube/before/etc/ssh/sshd_config"),
        ("var/lib/cube/layers.json", "core-dump-tool/x"),
    ),
    "temporary files": (
        ("tmp/x", "var/tmp/.y", "run/z/socket"),
        ("var/lib/x",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TRACES)
def test_a_step_removes_its_traces_and_nothing_else(image: Folder, name: str) -> None:
    traces, others = TRACES[name]
    image.plant(*traces, *others)
    steps.STEPS[name](image, SETTINGS)
    left = image.names()
    assert set(others) <= left
    assert not set(traces) & left


def test_every_step_has_a_test() -> None:
    elsewhere = {
        "cloud-init",
        "network configuration",
        "presets",
        "build account",
        "trust of the build",
        "remains of the build",
    }
    assert TRACES.keys() | elsewhere == steps.STEPS.keys()


def test_folders_of_logs_stay(image: Folder) -> None:
    image.plant("var/log/fail2ban/log", "var/log/apt/term.log")
    leftovers.clean_logs(image.tree)
    assert image.names() == {"var/log/fail2ban", "var/log/apt"}


def test_the_machine_id_is_empty_and_there(image: Folder) -> None:
    image.plant("etc/machine-id", "etc/iscsi/initiatorname.iscsi")
    identity.clean_identity(image.tree)
    assert (image.root / "etc/machine-id").read_text() == ""
    assert image.tree.read(identity.ISCSI) == "GenerateName=yes\n"


def test_a_resolver_of_the_build_is_refused(image: Folder) -> None:
    image.plant("etc/resolv.conf", text="nameserver 10.0.2.3\n")
    with pytest.raises(SealError, match=r"resolv\.conf is a file with the resolver"):
        identity.clean_resolvers(image.tree)


def test_a_link_of_resolved_is_fine(image: Folder) -> None:
    image.plant("etc/hosts")
    (image.root / "etc/resolv.conf").symlink_to("/run/systemd/resolve/stub-resolv.conf")
    identity.clean_resolvers(image.tree)
    assert (image.root / "etc/resolv.conf").is_symlink()


def test_an_image_without_a_network_is_refused(image: Folder) -> None:
    image.plant("etc/netplan/")
    with pytest.raises(SealError, match="no network configuration"):
        identity.expect_network(image.tree)
    image.plant("etc/systemd/network/80-ether.network")
    identity.expect_network(image.tree)


def test_images_stay_when_they_are_wanted(image: Folder) -> None:
    image.plant("var/lib/docker/overlay2/layer", "var/lib/docker/containers/1")
    leftovers.clean_engines(image.tree, replace(SETTINGS, keep_images=True))
    assert image.names() == {"var/lib/docker/overlay2/layer"}


def test_cloud_init_forgets_by_itself(image: Folder) -> None:
    leftovers.clean_cloud_init(image)
    assert image.ran == []
    image.plant("usr/bin/cloud-init", "var/lib/cloud/instance/x", "etc/cloud/cloud-init.disabled")
    leftovers.clean_cloud_init(image)
    assert image.ran == [("cloud-init", "clean", "--logs", "--seed")]
    assert image.names() == {"usr/bin/cloud-init", "etc/cloud", "var/lib"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_an_ssh_folder_is_its_owners(image: Folder) -> None:
    image.plant("home/ada/.ssh/authorized_keys", "home/bob/.ssh/")
    os.chown(image.root / "home/ada", 1000, 1001)
    leftovers.clean_homes(image.tree)
    found = (image.root / "home/ada/.ssh/authorized_keys").stat()
    assert (found.st_uid, found.st_gid) == (1000, 1001)
    assert not (image.root / "home/bob/.ssh").exists()


def test_the_build_account_leaves_nothing(image: Folder) -> None:
    image.plant("etc/passwd", text="cube-build:x:60600:60600::/home/cube-build:/bin/sh\n")
    image.plant(
        "home/cube-build/.ssh/authorized_keys",
        "etc/sudoers.d/90-cloud-init-users",
        "var/mail/cube-build",
        "etc/sudoers.d/50-cube-admin",
    )
    build.remove_user(image, SETTINGS)
    assert image.tree.read("etc/passwd") == ""
    assert image.names() == {"etc/passwd", "etc/sudoers.d/50-cube-admin", "home", "var/mail"}


CERTIFICATE = "usr/local/share/ca-certificates/cube-build-1.crt"
BUILD_FILES = (
    "root/.ssh/authorized_keys", "etc/apt/apt.conf.d/99cube-build-proxy",
    "etc/apt/cube-build/sources.list", CERTIFICATE,
)  # fmt: skip


def test_nothing_of_the_builds_trust_stays(image: Folder) -> None:
    image.plant(*BUILD_FILES)
    build.remove_trust(image, SETTINGS)
    assert [name for name in image.names() if "cube-build" in name or ".ssh" in name] == []
    assert image.ran == [("update-ca-certificates", "--fresh")]


def test_certificates_stay_when_asked(image: Folder) -> None:
    image.plant(*BUILD_FILES)
    build.remove_trust(image, replace(SETTINGS, keep_ca=True))
    assert CERTIFICATE in image.names()
    assert image.ran == []


MIRROR = '[network]\nproxy = "http://me:a$b@proxy:3128"\napt_mirror = "http://Mirror.example/d"\n'


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("etc/ssh/left", f"ssh-ed25519 {SETTINGS.public_key} x", "user, key or proxy"),
        ("root/note", "login cube-build", "user, key or proxy"),
        ("home/ada/.profile", "http_proxy=http://me:a$b@proxy:3128", "user, key or proxy"),
        ("opt/x/pip.conf", "index = http://mirror.EXAMPLE/simple", "a mirror of the build"),
        ("var/lib/x/sources", "deb http://mirror.example\nend", "a mirror of the build"),
    ],
)
def test_what_still_mentions_the_build_is_refused(
    image: Folder, name: str, text: str, what: str
) -> None:
    image.plant(name, "etc/other", text=text)
    (image.root / "etc/other").write_text("nothing")
    with pytest.raises(SealError, match=what) as caught:
        build.expect_no_remains(image, with_mirror(image))
    assert caught.value.details == f"/{name}"


def with_mirror(image: Folder) -> Settings:
    spec = load_text(MIRROR, image.root.parent / "cube.toml")
    return replace(SETTINGS, proxy=spec.network.proxy, remains=tuple(remains(spec)))


@pytest.mark.parametrize(
    "name", ["var/lib/docker/x", "var/lib/dpkg/info/x.list", "usr/share/doc/x", "var/log/x"]
)
def test_what_others_bring_is_not_searched(image: Folder, name: str) -> None:
    image.plant(name, text="http://mirror.example/ cube-build")
    build.expect_no_remains(image, with_mirror(image))


def test_settings_are_those_of_the_build(image: Folder) -> None:
    folder = image.root.parent
    (folder / "key.pub").write_text("ssh-ed25519 AAAA cube\n")
    text = f'{MIRROR}keep_ca_certificates = true\n[stack]\nimages = ["x@sha256:{"0" * 64}"]\n'
    spec = load_text(text, folder / "cube.toml")
    assert settings_of(spec, folder / "key") == Settings(
        user="cube-build",
        public_key="AAAA",
        proxy="http://me:a$b@proxy:3128",
        remains=tuple(remains(spec)),
        keep_ca=True,
        keep_images=True,
    )


@pytest.fixture
def whole(image: Folder) -> Folder:
    """An image that can be cleaned to the end."""
    image.plant("etc/netplan/50-cube.yaml", "etc/passwd", "etc/group", text="")
    return image


def test_the_mark_is_written_last(whole: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def watched(step: steps.Step) -> steps.Step:
        def run(image: Folder, settings: Settings) -> None:
            seen.append((whole.root / steps.DONE).exists())
            step(image, settings)

        return run  # type: ignore[return-value]

    whole.plant(str(steps.DONE), text="of an earlier life")
    every = {name: watched(step) for name, step in steps.STEPS.items()}
    monkeypatch.setattr(steps, "STEPS", every)
    steps.clean(whole, SETTINGS)
    assert seen == [False] * len(every)
    assert (whole.root / steps.DONE).read_text().endswith("Z\n")


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device", "/x"), CommandError("tool: exit code 3")]
)
def test_a_step_that_fails_is_named_and_leaves_no_mark(
    whole: Folder, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setitem(steps.STEPS, "logs", failing(error))
    whole.plant(str(steps.DONE))
    with pytest.raises(SealError, match="could not be cleaned: logs: "):
        steps.clean(whole, SETTINGS)
    assert not (whole.root / steps.DONE).exists()
