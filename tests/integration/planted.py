"""Faults that the checks of layers 1 and 5 must find, each with what must fail then."""

from dataclasses import dataclass

from checks.layer1.test_security_updates import GPU_PACKAGES


@dataclass(frozen=True)
class Fault:
    """A fault, how to undo it, where its checks are, and what they say."""

    plant: str
    undo: str
    file: str
    fails: tuple[str, ...]


NETS = ("internet", "private network", "ipv6")
SSHD = "/etc/ssh/sshd_config.d/00-a"
RELOAD = "systemctl reload ssh"
#: Waits for the sshd that runs: a reload ends before it has read its files.
OFFERED = (
    "timeout 10 sh -c 'until ssh -o BatchMode=yes -o StrictHostKeyChecking=no"
    " -o UserKnownHostsFile=/dev/null nobody@127.0.0.1 2>&1 | grep -q password; do sleep 0.1; done'"
)
DAEMON = "/etc/docker/daemon.json"
#: Not the name of a host key that a machine of the build may have from its first boot.
ECDSA = "/etc/ssh/ssh_host_fault_key"
RESOLVED = "/etc/systemd/resolved.conf.d/zz-fault.conf"
SANDBOX = "/etc/systemd/system/fail2ban.service.d/60-cube.conf"
CONTAINERD = "/etc/containerd/config.toml"
CORES = "/etc/systemd/system/containerd.service.d/zz-fault.conf"
NOTHING_NEW = (
    "#clear Unattended-Upgrade::Origins-Pattern;\\nUnattended-Upgrade::Origins-Pattern {"
    ' "origin=Debian,codename=${distro_codename}-security,label=Debian-Security"; };\\n'
)
JAIL = "/etc/fail2ban/jail.d/zz-fault.local"
#: systemd starts a unit five times in ten seconds and then no more.
RESTART_DOCKER = "systemctl reset-failed docker; systemctl restart docker"
SCRIPT = "/usr/local/bin/health-check-layer1.sh"
DROP_KEY = (
    "import json, sys; f = sys.argv[1]; d = json.load(open(f)); d.pop(sys.argv[2]); "
    "json.dump(d, open(f, 'w'))"
)


def without(key: str) -> tuple[str, str]:
    """Return how a key of Docker's daemon.json is dropped, and put back."""
    kept = f"/root/{key}.json"
    drop = f'cp {DAEMON} {kept} && python3 -c "{DROP_KEY}" {DAEMON} {key} && {RESTART_DOCKER}'
    return drop, f"mv {kept} {DAEMON} && {RESTART_DOCKER}"


FAULTS = {
    "the firewall is off": Fault(
        "ufw disable",
        "ufw --force enable",
        "checks/layer1/test_security_firewall.py",
        (
            "ufw is active",
            "ufw denies what comes in",
            "ufw lets out what goes out",
            "kernel drops what no rule lets in (iptables)",
            "kernel drops what no rule lets in (ip6tables)",
            *(f"another port is not reached from the ({net})" for net in NETS),
        ),
    ),
    "the firewall lets in a port": Fault(
        "ufw allow 28080/tcp",
        "ufw delete allow 28080/tcp",
        "checks/layer1/test_security_firewall.py",
        tuple(f"another port is not reached from the ({net})" for net in NETS),
    ),
    "the firewall shuts SSH out": Fault(
        # The pipeline's own connection comes from 10.0.2.2 and stays.
        "ufw prepend allow from 10.0.2.2 && ufw delete allow 22/tcp || ufw delete allow OpenSSH",
        "ufw allow 22/tcp && ufw delete allow from 10.0.2.2",
        "checks/layer1/test_security_firewall.py",
        tuple(f"ssh is reached from the ({net})" for net in NETS),
    ),
    "Docker's ports get around the firewall": Fault(
        "iptables -F DOCKER-USER",
        "ufw reload",
        "checks/layer1/test_docker.py",
        tuple(f"published port is not reached from the ({net})" for net in NETS[:2]),
    ),
    "root may log in": Fault(
        f"echo PermitRootLogin yes >{SSHD}-root.conf && {RELOAD}",
        f"rm {SSHD}-root.conf && {RELOAD}",
        "checks/layer1/test_security_ssh.py",
        ("sshd is set to (permitrootlogin, no)", "root does not get in even with a key"),
    ),
    "a password is asked for": Fault(
        f"echo PasswordAuthentication yes >{SSHD}-word.conf && {RELOAD}",
        f"rm {SSHD}-word.conf && {RELOAD}",
        "checks/layer1/test_security_ssh.py",
        ("sshd is set to (passwordauthentication, no)", "only keys are offered to who knocks"),
    ),
    "the running sshd is not the one of its files": Fault(
        f"echo PasswordAuthentication yes >{SSHD}.conf && {RELOAD} && {OFFERED} && rm {SSHD}.conf",
        RELOAD,
        "checks/layer1/test_security_ssh.py",
        ("only keys are offered to who knocks",),
    ),
    "a weak cipher is offered": Fault(
        f"echo Ciphers aes256-ctr,aes128-cbc >{SSHD}-weak.conf && {RELOAD}",
        f"rm {SSHD}-weak.conf && {RELOAD}",
        "checks/layer1/test_security_ssh.py",
        ("no weak algorithm is offered (ciphers)",),
    ),
    "windows of X are forwarded": Fault(
        f"echo X11Forwarding yes >{SSHD}-x11.conf && {RELOAD}",
        f"rm {SSHD}-x11.conf && {RELOAD}",
        "checks/layer1/test_security_ssh.py",
        ("sshd is set to (x11forwarding, no)",),
    ),
    "a login may take for ever": Fault(
        f"echo LoginGraceTime 0 >{SSHD}-grace.conf && {RELOAD}",
        f"rm {SSHD}-grace.conf && {RELOAD}",
        "checks/layer1/test_security_ssh.py",
        ("a login that takes long is cut off",),
    ),
    "fail2ban counts no attempt on an account that exists": Fault(
        # Where sshd logs each refused key, even this mode counts it.
        f"printf '[sshd]\\nmode = normal\\n' >{JAIL} && systemctl restart fail2ban;"
        f" echo LogLevel INFO >{SSHD}-log.conf && {RELOAD}",
        f"rm {JAIL} && systemctl restart fail2ban; rm {SSHD}-log.conf && {RELOAD}",
        "checks/layer1/test_security_fail2ban.py",
        (
            "failed logins lead to a ban (root)",
            "a banned address cannot connect (root)",
            "sshd is set to (loglevel, VERBOSE)",
        ),
    ),
    "a unit may remove the rules of all firewalls": Fault(
        "systemctl unmask nftables.service",
        "systemctl mask nftables.service",
        "checks/layer1/test_security_firewall.py",
        ("nothing removes the rules of all firewalls",),
    ),
    "an ECDSA key is offered": Fault(
        f"ssh-keygen -q -t ecdsa -N '' -f {ECDSA} && echo HostKey {ECDSA} >{SSHD}-ecdsa.conf"
        f" && {RELOAD}",
        f"rm {ECDSA}* {SSHD}-ecdsa.conf && {RELOAD}",
        "checks/layer1/test_security_ssh.py",
        ("host keys are strong",),
    ),
    "a short RSA key lets in": Fault(
        f"echo RequiredRSASize 2048 >{SSHD}-rsa.conf && {RELOAD}",
        f"rm {SSHD}-rsa.conf && {RELOAD}",
        "checks/layer1/test_security_ssh.py",
        ("short rsa keys let nobody in",),
    ),
    "logs pile up": Fault(
        "systemctl disable --now logrotate.timer",
        "systemctl enable --now logrotate.timer",
        "checks/layer1/test_common_upkeep.py",
        ("logs are rotated",),
    ),
    "a rule for logs is broken": Fault(
        "echo '/var/log/x { sometimes }' >/etc/logrotate.d/zz-fault",
        "rm /etc/logrotate.d/zz-fault",
        "checks/layer1/test_common_upkeep.py",
        ("rules for logs are valid",),
    ),
    "updates restart services": Fault(
        "echo '$nrconf{restart} = q(a);' >/etc/needrestart/conf.d/zz-fault.conf",
        "rm /etc/needrestart/conf.d/zz-fault.conf",
        "checks/layer1/test_common_upkeep.py",
        ("updates restart no service",),
    ),
    "neighbours are asked for names": Fault(
        f"printf '[Resolve]\\nLLMNR=yes\\n' >{RESOLVED} && systemctl restart systemd-resolved",
        f"rm {RESOLVED} && systemctl restart systemd-resolved",
        "checks/layer1/test_common_upkeep.py",
        ("nobody is asked for names by multicast",),
    ),
    "the administrator cannot ping": Fault(
        "sysctl -q -w net.ipv4.ping_group_range='1 0'",
        "sysctl -q -w net.ipv4.ping_group_range='0 2147483647'",
        "checks/layer1/test_common_upkeep.py",
        ("admin can ping",),
    ),
    "a service may do anything": Fault(
        f"mv {SANDBOX} /root/sandbox && systemctl daemon-reload",
        f"mv /root/sandbox {SANDBOX} && systemctl daemon-reload",
        "checks/layer1/test_common_upkeep.py",
        ("a service has only what it needs (fail2ban.service)",),
    ),
    "a recommended package is missing": Fault(
        "dpkg --remove libnss-myhostname",
        "apt-get -q -y --no-install-recommends install libnss-myhostname",
        "checks/layer1/test_common_upkeep.py",
        ("no recommended package is missing without a reason",),
    ),
    "swapped-out memory is read by everybody": Fault(
        "install -m 644 /dev/null /swap.img",
        "rm /swap.img",
        "checks/layer1/test_common_upkeep.py",
        ("nobody else reads what was swapped out",),
    ),
    "containerd opens a port": Fault(
        f"mv {CONTAINERD} /root/config.toml && systemctl restart containerd",
        f"mv /root/config.toml {CONTAINERD} && systemctl restart containerd",
        "checks/layer1/test_docker.py",
        ("containerd listens to no network",),
    ),
    "a crashed container leaves its memory": Fault(
        f"printf '[Service]\\nLimitCORE=infinity\\n' >{CORES} && systemctl daemon-reload"
        " && systemctl restart containerd",
        f"rm {CORES} && systemctl daemon-reload && systemctl restart containerd",
        "checks/layer1/test_docker.py",
        ("a container that crashes leaves no memory behind",),
    ),
    "a guard of the kernel is lost": Fault(
        "echo kernel.kptr_restrict = 0 >/etc/sysctl.d/99-zz-guard.conf",
        "rm /etc/sysctl.d/99-zz-guard.conf",
        "checks/layer1/test_common.py",
        ("kernel guard is kept (kernel.kptr_restrict)",),
    ),
    "updates remove kernels": Fault(
        "echo 'Unattended-Upgrade::Remove-Unused-Kernel-Packages \"true\";'"
        " >/etc/apt/apt.conf.d/99zz-kernels",
        "rm /etc/apt/apt.conf.d/99zz-kernels",
        "checks/layer1/test_security_updates.py",
        ("updates remove no (Unused-Kernel-Packages)",),
    ),
    "updates bring nothing new": Fault(
        f"printf '{NOTHING_NEW}' >/etc/apt/apt.conf.d/99zz-origins",
        "rm /etc/apt/apt.conf.d/99zz-origins",
        "checks/layer1/test_security_updates.py",
        ("an update may bring new packages of the release",),
    ),
    "fail2ban bans in name only": Fault(
        f"printf '[sshd]\\nbanaction = dummy\\n' >{JAIL} && systemctl restart fail2ban",
        f"rm {JAIL} && systemctl restart fail2ban",
        "checks/layer1/test_security_fail2ban.py",
        tuple(f"a banned address cannot connect ({who})" for who in ("nobody-at-all", "root")),
    ),
    "an account has an empty password": Fault(
        "passwd --delete daemon",
        "usermod --password '*' daemon",
        "checks/layer1/test_users.py",
        ("no account is without a password",),
    ),
    "root has a password": Fault(
        "echo root:secret | chpasswd",
        "usermod --password '*' root",
        "checks/layer1/test_users.py",
        ("no account has a password set",),
    ),
    "the administrator lost sudo": Fault(
        "mv /etc/sudoers.d/50-cube-admin /root/",
        "mv /root/50-cube-admin /etc/sudoers.d/",
        "checks/layer1/test_users.py",
        ("admin uses sudo without a password",),
    ),
    "the administrator may not use GPUs": Fault(
        "gpasswd --delete cube render",
        "gpasswd --add cube render",
        "checks/layer1/test_users.py",
        ("admin is in the group (render)",),
    ),
    "the administrator's home is open": Fault(
        "chmod 755 ~cube",
        "chmod 750 ~cube",
        "checks/layer1/test_users.py",
        ("home of admin is closed to others",),
    ),
    "updates touch the driver": Fault(
        "echo '#clear Unattended-Upgrade::Package-Blacklist;' >/etc/apt/apt.conf.d/99zz-fault",
        "rm /etc/apt/apt.conf.d/99zz-fault",
        "checks/layer1/test_security_updates.py",
        tuple(f"updates hold back ({package})" for package in GPU_PACKAGES),
    ),
    "downloads pile up": Fault(
        "echo 'APT::Periodic::AutocleanInterval \"0\";' >/etc/apt/apt.conf.d/99zz-clean",
        "rm /etc/apt/apt.conf.d/99zz-clean",
        "checks/layer1/test_security_updates.py",
        ("downloads are cleared away",),
    ),
    "updates are masked": Fault(
        "systemctl mask --now apt-daily-upgrade.timer",
        "systemctl unmask apt-daily-upgrade.timer && systemctl start apt-daily-upgrade.timer",
        "checks/layer1/test_security_updates.py",
        (
            "timer is enabled (apt-daily-upgrade.timer)",
            "timer is waiting (apt-daily-upgrade.timer)",
        ),
    ),
    "logs of containers grow for ever": Fault(
        *without("log-opts"),
        "checks/layer1/test_docker.py",
        (
            "log of a new container is limited by (max-size)",
            "log of a new container is limited by (max-file)",
        ),
    ),
    "containers die with the engine": Fault(
        *without("live-restore"),
        "checks/layer1/test_docker.py",
        ("containers outlive a restart of the engine",),
    ),
    "the time zone is another one": Fault(
        "ln -sf /usr/share/zoneinfo/Asia/Tokyo /etc/localtime",
        "ln -sf /usr/share/zoneinfo/Etc/UTC /etc/localtime",
        "checks/layer1/test_common.py",
        ("time zone is the one asked for",),
    ),
    "a unit has failed": Fault(
        "systemd-run --unit=fault --property=Type=oneshot false; true",
        "systemctl reset-failed fault",
        "checks/layer1/test_common.py",
        ("no unit has failed",),
    ),
    "a kernel setting is lost": Fault(
        "echo vm.max_map_count = 65530 >/etc/sysctl.d/99-zz-fault.conf",
        "rm /etc/sysctl.d/99-zz-fault.conf",
        "checks/layer1/test_common.py",
        ("kernel setting is kept (vm.max_map_count)",),
    ),
    "a fast stream has no room": Fault(
        "echo net.ipv4.tcp_rmem = 4096 131072 6291456 >/etc/sysctl.d/99-zz-stream.conf",
        "rm /etc/sysctl.d/99-zz-stream.conf",
        "checks/layer1/test_common.py",
        ("a fast stream is kept room in (net.ipv4.tcp_rmem)",),
    ),
    "uv is gone": Fault(
        "mv /usr/local/bin/uv /root/",
        "mv /root/uv /usr/local/bin/",
        "checks/layer1/test_python.py",
        (
            "tool answers to a login (uv)",
            "uv makes an environment of the python of the system",
        ),
    ),
    "the health timer is stopped": Fault(
        "systemctl stop cube-health.timer",
        "systemctl start cube-health.timer",
        "checks/layer5/test_validation.py",
        ("health timer is waiting", "nothing fails in (health-check-layer5.sh)"),
    ),
    "a health check lies about its exit code": Fault(
        f'mv {SCRIPT} /root/real && printf \'#!/bin/sh\\n/root/real "$@"; c=$?\\n'
        f'[ "$1" = --json ] && exit 1; exit $c\\n\' >{SCRIPT} && chmod 755 {SCRIPT}',
        f"mv /root/real {SCRIPT}",
        "checks/layer5/test_validation.py",
        ("exit code agrees with the outcome (health-check-layer1.sh)",),
    ),
    "the login line is silent": Fault(
        "chmod -x /etc/update-motd.d/60-cube",
        "chmod +x /etc/update-motd.d/60-cube",
        "checks/layer5/test_monitoring.py",
        (
            "login is told the image (name)",
            "login is told the image (version)",
            "login is told the health",
        ),
    ),
}


#: Faults that do not get in each other's way are planted together; one run then looks at all the
#: files of checks concerned. The firewall comes before what it would mend.
ROUNDS = {
    "many faults": (
        "the firewall lets in a port",
        "root may log in",
        "a password is asked for",
        "a weak cipher is offered",
        "windows of X are forwarded",
        "a login may take for ever",
        "fail2ban counts no attempt on an account that exists",
        "a unit may remove the rules of all firewalls",
        "an ECDSA key is offered",
        "a short RSA key lets in",
        "logs pile up",
        "a rule for logs is broken",
        "updates restart services",
        "neighbours are asked for names",
        "the administrator cannot ping",
        "a service may do anything",
        "a recommended package is missing",
        "swapped-out memory is read by everybody",
        "containerd opens a port",
        "a crashed container leaves its memory",
        "a guard of the kernel is lost",
        "updates remove kernels",
        "updates bring nothing new",
        "an account has an empty password",
        "root has a password",
        "the administrator lost sudo",
        "the administrator may not use GPUs",
        "the administrator's home is open",
        "updates touch the driver",
        "downloads pile up",
        "updates are masked",
        "logs of containers grow for ever",
        "containers die with the engine",
        "Docker's ports get around the firewall",
        "the time zone is another one",
        "a unit has failed",
        "a kernel setting is lost",
        "a fast stream has no room",
        "uv is gone",
    ),
    "nothing guards the door": (
        "the firewall is off",
        "the running sshd is not the one of its files",
        "fail2ban bans in name only",
    ),
    "the box does not tell": (
        "the firewall shuts SSH out",
        "the health timer is stopped",
        "a health check lies about its exit code",
        "the login line is silent",
    ),
}
