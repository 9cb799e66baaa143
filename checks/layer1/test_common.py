"""What every cube has: packages, language, time, names, kernel settings."""

import re

import pytest
from testinfra.host import Host

from cube.config import Spec

#: A command of each kind of tool that people and later layers count on.
COMMANDS = [
    "cc", "curl", "dig", "ethtool", "file", "gcc", "git", "gpg", "growpart", "jq", "less",
    "lsof", "lspci", "lsusb", "make", "man", "nano", "numactl", "pkg-config", "rsync",
    "sensors", "smartctl", "strace", "tmux", "tree", "unzip", "vi", "wget", "xz", "zip", "zstd",
]  # fmt: skip

#: Least values of kernel settings, with what breaks below them.
AT_LEAST = {
    "vm.max_map_count": 1048576,  # memory-mapped data sets and checkpoints
    "fs.inotify.max_user_watches": 524288,  # editors and notebooks on large trees
    "fs.inotify.max_user_instances": 1024,  # many containers
    "fs.aio-max-nr": 1048576,  # data loaders
    "net.core.rmem_max": 67108864,  # one stream at 10 Gbit/s and 50 ms
    "net.core.wmem_max": 67108864,
    "net.core.netdev_max_backlog": 16384,  # packets that wait for a busy core
    "vm.dirty_background_bytes": 64 << 20,  # checkpoints: writing begins early, but not at once
    "vm.dirty_bytes": 1 << 30,  # and the writer is stopped late
    "kernel.core_uses_pid": 1,  # no process of a job overwrites the core file of another
    "kernel.panic": 1,  # a box without a screen comes back
}
#: Values of kernel settings that guard who uses the machine from each other. Source: kernel
#: documentation, admin-guide/sysctl; networking/ip-sysctl.
GUARDS = {
    "kernel.kptr_restrict": 1,
    "kernel.kexec_load_disabled": 1,
    "dev.tty.ldisc_autoload": 0,
    "fs.protected_fifos": 1,
    "fs.protected_regular": 2,
    "fs.protected_hardlinks": 1,
    "fs.protected_symlinks": 1,
    "net.ipv4.conf.all.send_redirects": 0,
    "net.ipv4.conf.default.send_redirects": 0,
    "net.ipv4.conf.all.secure_redirects": 0,
    "net.ipv4.conf.default.secure_redirects": 0,
}
SWAPPINESS = 10
#: Least, usual and greatest bytes of a TCP buffer. Source: tcp(7), tcp_rmem and tcp_wmem.
STREAMS = ["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"]
#: One stream at 10 Gbit/s and 50 ms.
IN_FLIGHT = 62_500_000


@pytest.fixture(scope="module")
def kept(host: Host) -> dict[str, str]:
    """Kernel settings as the next boot will make them. Source: sysctl.d(5): the last one wins."""
    text = host.check_output("/usr/lib/systemd/systemd-sysctl --cat-config")
    return dict(re.findall(r"^-?([a-z][\w./-]*)\s*=\s*(.*?)\s*$", text, re.MULTILINE))


def test_apt_waits_for_another_apt(host: Host) -> None:
    assert re.search(
        r'^DPkg::Lock::Timeout "[1-9]\d*";$', host.check_output("apt-config dump"), re.M
    )


@pytest.mark.parametrize("setting", ["Retries", "http::Timeout", "https::Timeout"])
def test_apt_bounds_what_a_network_may_take(host: Host, setting: str) -> None:
    assert re.search(
        rf'^Acquire::{setting} "[1-9]\d*";$', host.check_output("apt-config dump"), re.M
    )


def test_packages_are_whole(host: Host) -> None:
    assert host.check_output("dpkg --audit") == ""


def test_dependencies_are_met(host: Host) -> None:
    assert host.run("apt-get check").stderr == ""


def test_no_upgrade_is_pending(host: Host) -> None:
    plan = host.check_output("apt-get --simulate --quiet dist-upgrade")
    assert re.findall(r"^Inst (\S+)", plan, re.MULTILINE) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_installed(host: Host, command: str) -> None:
    assert host.exists(command)


def test_a_login_speaks_the_language_asked_for(host: Host, spec: Spec) -> None:
    login = host.check_output("su --login %s --command locale", spec.admin.user)
    assert f"LANG={spec.image.locale}" in login.splitlines()


def test_the_language_is_generated(host: Host, spec: Spec) -> None:
    login = host.run("su --login %s --command locale", spec.admin.user)
    assert login.stderr == ""


def test_time_zone_is_the_one_asked_for(host: Host, spec: Spec) -> None:
    zone = f"/usr/share/zoneinfo/{spec.image.timezone}"
    assert host.run("cmp /etc/localtime %s", zone).rc == 0


def test_clock_is_set_from_the_network_at_boot(host: Host) -> None:
    services = "systemd-timesyncd.service chrony.service ntpsec.service openntpd.service"
    assert "enabled" in host.run(f"systemctl is-enabled {services}").stdout.split()


@pytest.mark.needs("kernel")
def test_clock_is_being_set_from_the_network(host: Host) -> None:
    assert host.check_output("timedatectl show --property NTP --value") == "yes"


@pytest.mark.needs("hardware")
def test_clock_agrees_with_the_network(host: Host) -> None:
    assert host.check_output("timedatectl show --property NTPSynchronized --value") == "yes"


def test_time_servers_are_those_asked_for(host: Host, spec: Spec) -> None:
    if not host.package("systemd-timesyncd").is_installed:
        pytest.skip("another service, chosen by somebody, sets the clock from servers of its own")
    text = host.check_output("systemd-analyze cat-config systemd/timesyncd.conf")
    servers = " ".join(re.findall(r"^NTP=(.*)$", text, re.MULTILINE)).split()
    assert [one for one in spec.network.ntp_servers if one not in servers] == []


def test_host_name_can_be_looked_up(host: Host) -> None:
    assert host.run("getent hosts $(hostname)").rc == 0


def test_no_unit_has_failed(host: Host) -> None:
    failed = host.check_output("systemctl list-units --failed --plain --no-legend").splitlines()
    assert [line.split()[0] for line in failed] == []


@pytest.mark.parametrize("key", AT_LEAST)
def test_kernel_setting_is_kept(kept: dict[str, str], key: str) -> None:
    assert int(kept[key]) >= AT_LEAST[key]


@pytest.mark.needs("kernel")
@pytest.mark.parametrize("key", AT_LEAST)
def test_kernel_setting_is_in_force(host: Host, key: str) -> None:
    assert int(host.check_output("sysctl --values %s", key)) >= AT_LEAST[key]


@pytest.mark.parametrize("module", ["dccp", "rds", "tipc", "firewire-sbp2"])
def test_a_module_that_nothing_uses_is_not_loaded(host: Host, module: str) -> None:
    # modprobe writes a hyphen as an underscore.
    rows = host.check_output("modprobe --showconfig").splitlines()
    assert f"install {module.replace('-', '_')} /bin/false" in rows


@pytest.mark.parametrize("key", GUARDS)
def test_kernel_guard_is_kept(kept: dict[str, str], key: str) -> None:
    assert int(kept[key]) == GUARDS[key]


@pytest.mark.needs("kernel")
@pytest.mark.parametrize("key", GUARDS)
def test_kernel_guard_is_in_force(host: Host, key: str) -> None:
    assert int(host.check_output("sysctl --values %s", key)) == GUARDS[key]


@pytest.mark.parametrize("key", STREAMS)
def test_a_fast_stream_is_kept_room_in(kept: dict[str, str], key: str) -> None:
    assert int(kept[key].split()[2]) >= IN_FLIGHT


@pytest.mark.needs("kernel")
@pytest.mark.parametrize("key", STREAMS)
def test_a_fast_stream_has_room_in(host: Host, key: str) -> None:
    assert int(host.check_output("sysctl --values %s", key).split()[2]) >= IN_FLIGHT


def test_swapping_is_kept_rare(kept: dict[str, str]) -> None:
    assert int(kept["vm.swappiness"]) <= SWAPPINESS


@pytest.mark.needs("kernel")
def test_swapping_is_rare(host: Host) -> None:
    assert int(host.check_output("sysctl --values vm.swappiness")) <= SWAPPINESS


@pytest.mark.needs("limits")
def test_a_login_may_lock_all_memory(host: Host, spec: Spec) -> None:
    login = host.check_output("su --login %s --command 'ulimit -l'", spec.admin.user)
    assert login == "unlimited"


@pytest.mark.needs("limits")
def test_a_login_may_open_many_files(host: Host, spec: Spec) -> None:
    login = host.check_output("su --login %s --command 'ulimit -Hn'", spec.admin.user)
    assert int(login) >= 524288


def test_a_service_may_lock_all_memory(host: Host) -> None:
    assert host.check_output("systemctl show --property DefaultLimitMEMLOCK --value") == "infinity"


def test_a_service_may_open_many_files(host: Host) -> None:
    limit = host.check_output("systemctl show --property DefaultLimitNOFILE --value")
    assert int(limit) >= 524288


@pytest.mark.parametrize(
    "unit", ["cube-grow-root.service", "cube-ssh-host-keys.service", "cube-swap.service"]
)
def test_first_boot_of_a_copy_is_prepared_by(host: Host, unit: str) -> None:
    assert host.run("systemctl is-enabled %s", unit).stdout.strip() == "enabled"
