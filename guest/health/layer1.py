"""Layer 1: operating system, access, firewall, Docker, Python."""

import re
import socket
from collections.abc import Iterator

from guest.checking.program import LIMIT_S, Answer, ask
from guest.checking.report import Report
from guest.checking.state import ROOT, read_text
from guest.health.box import EXPECTATIONS, check_program, in_container, read_json, uptime_s

DISK_LIMIT_PERCENT = 90
#: Seconds after a boot in which time servers may not yet be trusted.
SETTLING_S = 900
MOUNTS = ("/", "/boot", "/boot/efi", "/var", "/var/lib/docker", "/home")
ENGINE = "Engine {{.ServerVersion}}"
VENV = 'import venv, ensurepip; print("venv and ensurepip")'
#: "listenaddress [::]:22", "Listen=0.0.0.0:22 (Stream)".
LISTENER = re.compile(r"^(?:listenaddress |Listen=)\[?([^\]\s]+?)\]?:(\d+)\b", re.MULTILINE)
#: How the machine itself reaches "any address".
LOCAL = {"0.0.0.0": "127.0.0.1", "*": "127.0.0.1", "::": "::1"}  # noqa: S104 (a name, no server)
KERNEL_PACKAGE = re.compile(r"linux-(image|headers|modules)-")


def check_common(report: Report) -> None:
    """Check units, file systems, clock, pending restarts and kernels."""
    check_failed_units(report)
    check_root_writable(report)
    for mount in MOUNTS:
        if ask("mountpoint", "--quiet", mount).code == 0:
            check_disk(report, mount)
    check_clock(report)
    check_restart(report)
    check_old_kernels(report)


def check_failed_units(report: Report) -> None:
    """Check that systemd knows no failed unit."""
    answer = ask("systemctl", "list-units", "--state=failed", "--plain", "--no-legend")
    if answer.code != 0:
        report.fail("no failed units", answer.explain())
        return
    failed = [line.split()[0] for line in answer.text.splitlines() if line.strip()]
    report.check_that("no failed units", not failed, "none", " ".join(failed))


def check_root_writable(report: Report) -> None:
    """Check the options of the root file system; a service's own mount may be read-only."""
    options = ask("findmnt", "--noheadings", "--output", "FS-OPTIONS", "--mountpoint", "/").first
    good = "rw" in options.split(",")
    report.check_that(
        "root file system writable", good, "mounted rw", f"mounted {options or 'unknown'}"
    )


def check_disk(report: Report, mount: str) -> None:
    """Check the space and the inodes of a file system."""
    answer = ask("df", "--output=pcent,ipcent", mount)
    fields = [field.rstrip("%") for field in (answer.lines or [""])[-1].split()]
    if not fields or not fields[0].isdigit():
        report.fail(f"disk {mount}", answer.explain())
        return
    # vfat and btrfs do not count inodes
    used, inodes = (int(field) if field.isdigit() else 0 for field in (*fields, "-")[:2])
    told = f"{used} % used, {inodes} % of inodes"
    good = max(used, inodes) <= DISK_LIMIT_PERCENT
    report.check_that(f"disk {mount}", good, told, f"{told}, limit {DISK_LIMIT_PERCENT} %")


def check_clock(report: Report) -> None:
    """Check that the clock is synchronised."""
    name = "clock synchronised"
    if in_container():
        report.skip(name, "a container has its host's clock")
    elif ask("timedatectl", "show", "--property=NTPSynchronized", "--value").first == "yes":
        report.ok(name, "yes")
    elif (uptime := uptime_s()) < SETTLING_S:
        report.skip(name, f"not yet, {uptime} s after the boot")
    else:
        report.fail(name, "no: see timedatectl")


def check_restart(report: Report) -> None:
    """Report a pending restart; it waits for who uses the machine, and is no fault.

    Source: debian-policy, /run/reboot-required; /etc/kernel/postinst.d/unattended-upgrades.
    """
    if not (ROOT / "run/reboot-required").exists():
        report.ok("no restart is due", "none")
        return
    packages = " ".join(sorted(set(read_text(ROOT / "run/reboot-required.pkgs").split())))
    report.skip(
        "no restart is due", f"one is, for {packages or 'an update'}: sudo systemctl reboot"
    )


def check_old_kernels(report: Report) -> None:
    """Name unused kernels; updates remove none, because apt's choice is not reliable."""
    answer = ask("apt-get", "--simulate", "--quiet", "autoremove")
    rows = [line.split() for line in answer.text.splitlines()]
    old = [row[1] for row in rows if row[:1] == ["Remv"] and KERNEL_PACKAGE.match(row[1])]
    if answer.code == 0 and old:
        report.skip("old kernels", f"sudo apt-get autoremove removes {' '.join(old)}")
    else:
        report.check_that("old kernels", answer.code == 0, "none", answer.explain())


def check_users(report: Report) -> None:
    """Check the administrator's account, and that no password is empty."""
    user = read_json(EXPECTATIONS, lambda data: str(data["admin_user"]))
    if user is None:
        report.skip("admin account", f"{EXPECTATIONS} names none")
    else:
        groups = ask("id", "--name", "--groups", user).text.split()
        report.check_that(
            "admin account",
            "sudo" in groups,
            f"{user} is in the group sudo",
            f"{user} is missing or not in the group sudo",
        )
    rows = [line.split(":") for line in ask("getent", "shadow").text.splitlines()]
    empty = [row[0] for row in rows if row[1:2] == [""]]
    report.check_that("no empty password", not empty, "none", " ".join(empty))


def check_security(report: Report) -> None:
    """Check sshd, the firewall, fail2ban and security updates."""
    check_sshd(report)
    check_firewall(report)
    check_flush(report)
    check_jail(report)
    check_upgrades(report)


def check_sshd(report: Report) -> None:
    """Check sshd's effective settings and that it answers."""
    answer = ask("sshd", "-T")
    if answer.code != 0:
        report.fail("sshd configuration", answer.explain())
        return
    check_banners(report, listeners(answer.text))
    for key in ("passwordauthentication", "permitrootlogin"):
        value = next(settings(answer, key), "unset")
        report.check_that(f"sshd {key}", value == "no", value, f"{value}, wanted no")


def settings(answer: Answer, key: str) -> Iterator[str]:
    """Yield the values of one of sshd's settings."""
    for line in answer.text.splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            yield value.split()[0] if value.split() else ""


def listeners(settings_text: str) -> list[tuple[str, int]]:
    """Return where sshd listens, as address for the machine itself and port.

    With a port in ListenAddress, or with systemd's socket, `port` is not the place.
    Source: sshd(8), -T; systemd.socket(5), ListenStream=.
    """
    text = settings_text
    if ask("systemctl", "is-active", "ssh.socket").first == "active":
        text = ask("systemctl", "show", "--property=Listen", "ssh.socket").text
    places = {(LOCAL.get(host, host), int(port)) for host, port in LISTENER.findall(text)}
    both = {port for host, port in places if host == "127.0.0.1"}
    return sorted(place for place in places if place[0] != "::1" or place[1] not in both)


def check_banners(report: Report, places: list[tuple[str, int]]) -> None:
    """Check that sshd greets wherever it listens."""
    lines = {port: read_banner(host, port) for host, port in places}
    silent = [str(port) for port, line in lines.items() if not line.startswith("SSH-2.0-")]
    ports = ", ".join(map(str, lines))
    report.check_that(
        "sshd answers",
        bool(lines) and not silent,
        f"{next(iter(lines.values()), '')} on port {ports}",
        f"nothing on port {', '.join(silent)}" if silent else "it listens nowhere",
    )


def read_banner(host: str, port: int) -> str:
    """Return what a server says first; empty when nobody answers."""
    try:
        with socket.create_connection((host, port), timeout=LIMIT_S) as connection:
            return connection.makefile("rb").readline().decode(errors="replace").strip()
    except OSError:
        return ""


def check_firewall(report: Report) -> None:
    """Check that ufw is active and refuses what is not listed."""
    answer = ask("ufw", "status", "verbose")
    default = next((line for line in answer.lines if line.startswith("Default")), "")
    if answer.code != 0:
        report.fail("firewall active", answer.explain())
    elif "Status: active" not in answer.lines:
        report.fail("firewall active", answer.first)
    else:
        good = bool(re.match(r"Default: (deny|reject) \(incoming\)", default))
        report.check_that(
            "firewall active",
            good,
            "incoming connections are refused unless listed",
            f"lets unlisted connections in: {default}",
        )


def check_flush(report: Report) -> None:
    """Check that nftables.service is off: its start and stop remove the rules of ufw and Docker."""
    state = ask("systemctl", "is-enabled", "nftables.service").first
    report.check_that(
        "firewall is kept",
        "enabled" not in state,
        f"nftables.service is {state or 'not there'}",
        f"nftables.service is {state}: it flushes the rules of ufw, Docker and fail2ban",
    )


def check_jail(report: Report) -> None:
    """Check that fail2ban guards sshd."""
    answer = ask("fail2ban-client", "status", "sshd")
    banned = re.search(r"Currently banned:\s*(.*)", answer.text)
    told = f"banned now: {banned[1]}" if banned else ""
    report.check_that("fail2ban guards sshd", answer.code == 0, told, answer.explain())


def check_upgrades(report: Report) -> None:
    """Check that security updates are installed by themselves."""
    key = "APT::Periodic::Unattended-Upgrade"
    value = ask("apt-config", "shell", "value", key).text
    if not value.strip() or "'0'" in value:
        report.fail("security updates", f"{key} is off")
        return
    timer = "apt-daily-upgrade.timer"
    state = ask("systemctl", "is-enabled", timer).first
    report.check_that(
        "security updates",
        state == "enabled",
        f"unattended, {timer} is enabled",
        f"{timer} is {state or 'unknown'}",
    )


def check_docker(report: Report) -> None:
    """Check Docker Engine and its plug-ins."""
    check_program(report, "docker answers", "docker", "info", "--format", ENGINE)
    check_program(report, "docker compose", "docker", "compose", "version")
    check_program(report, "docker buildx", "docker", "buildx", "version")


def check_python(report: Report) -> None:
    """Check the system's Python and uv."""
    check_program(report, "python", "python3", "--version")
    check_program(report, "python venv", "python3", "-c", VENV)
    check_program(report, "uv", "uv", "--version")


ROLES = {
    "common": check_common,
    "users": check_users,
    "security": check_security,
    "docker": check_docker,
    "python": check_python,
}
