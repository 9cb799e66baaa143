"""SSH lets people in with a key of theirs, and in no other way."""

import re

import pytest
from testinfra.host import Host

from checks.layer1.ssh_listeners import Listener
from cube.config import Spec

Settings = dict[str, str]

#: Broken or ageing algorithms. Source: RFC 9142 (key exchange), RFC 8758 (RC4),
#: RFC 8332 (ssh-rsa is SHA-1), RFC 6151 (MD5); CBC modes: CVE-2008-5161.
WEAK = re.compile(
    r"-cbc|3des|arcfour|blowfish|cast128|md5|sha1\b|sha1-|^ssh-rsa|ssh-dss|umac-64|-96"
)

#: Log in with a key that is let in for a moment: the public half goes to a file that sshd reads
#: and is gone afterwards, whatever happens. Arguments: account, file, port, address.
LOGIN = """
set -eu
user=$1 keys=$2 port=$3 address=$4 scratch=$(mktemp -d)
trap 'rm -rf "$scratch"; sed -i /cube-check-login/d "$keys"; [ -s "$keys" ] || rm -f "$keys"' EXIT
trap 'exit 1' HUP INT TERM
ssh-keygen -q -t ed25519 -N '' -C cube-check-login -f "$scratch/key"
install -d -m 700 -o "$user" "$(dirname "$keys")"
[ -z "$(tail -c 1 "$keys" 2>/dev/null)" ] || echo >>"$keys" # a last line without an end
cat "$scratch/key.pub" >>"$keys"
chown "$user" "$keys"
ssh -F none -i "$scratch/key" -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=20 \
    -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
    -p "$port" "$user@$address" echo is-in 2>&1 || true
"""


@pytest.fixture(scope="module")
def sshd(host: Host) -> Settings:
    """The settings in force for a stranger who wants to be root."""
    # Source: sshd(8), -T and -C
    lines = host.check_output("sshd -T -C user=root,host=stranger,addr=192.0.2.9").splitlines()
    return {key: value for key, _, value in (line.partition(" ") for line in lines)}


@pytest.fixture(scope="module")
def scratch_keys(sshd: Settings) -> str:
    """Name, below a home folder, of the last file of keys that sshd reads."""
    return sshd["authorizedkeysfile"].split()[-1]


def test_a_restart_leaves_the_folder_of_open_logins(host: Host) -> None:
    # Without it a login in that second dies: fatal: chroot("/run/sshd"): No such file.
    show = "systemctl show --property=RuntimeDirectoryPreserve --value ssh.service"
    assert host.check_output(show) == "restart"


def test_configuration_is_valid(host: Host) -> None:
    assert host.run("sshd -t").stderr == ""


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("permitrootlogin", "no"),
        ("passwordauthentication", "no"),
        ("kbdinteractiveauthentication", "no"),
        ("permitemptypasswords", "no"),
        ("hostbasedauthentication", "no"),
        ("pubkeyauthentication", "yes"),
        ("x11forwarding", "no"),
        ("tcpkeepalive", "no"),  # anybody can forge its answers
        ("loglevel", "VERBOSE"),  # names the key of each login
    ],
)
def test_sshd_is_set_to(sshd: Settings, setting: str, value: str) -> None:
    assert sshd[setting] == value


def test_a_login_that_takes_long_is_cut_off(sshd: Settings) -> None:
    assert 0 < int(sshd["logingracetime"]) <= 60


def test_a_client_that_is_gone_is_noticed(sshd: Settings) -> None:
    assert 0 < int(sshd["clientaliveinterval"]) * int(sshd["clientalivecountmax"]) <= 600


@pytest.mark.parametrize(
    "kind", ["ciphers", "macs", "kexalgorithms", "hostkeyalgorithms", "pubkeyacceptedalgorithms"]
)
def test_no_weak_algorithm_is_offered(sshd: Settings, kind: str) -> None:
    assert [name for name in sshd[kind].split(",") if WEAK.search(name)] == []


def test_only_keys_are_offered_to_who_knocks(host: Host, ssh_listener: Listener) -> None:
    # The running daemon answers, whatever its files say by now.
    answer = host.check_output(
        "ssh -F none -o PreferredAuthentications=none -o BatchMode=yes -o ConnectTimeout=20 "
        "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "
        f"-p {ssh_listener.port} nobody@{ssh_listener.local} 2>&1 || true"
    )
    assert re.findall(r"Permission denied \((.*)\)", answer) == ["publickey"]


def test_host_keys_are_strong(host: Host, ssh_listener: Listener) -> None:
    # Source: RFC 8709 (Ed25519), RFC 8332 (RSA); ECDSA's curves are left out.
    place = f"-p {ssh_listener.port} {ssh_listener.local}"
    scan = host.check_output(f"ssh-keyscan {place} 2>/dev/null")
    keys = {line.split()[1] for line in scan.splitlines() if not line.startswith("#")}
    assert keys == {"ssh-ed25519", "ssh-rsa"}


def test_short_rsa_keys_let_nobody_in(sshd: Settings) -> None:
    assert int(sshd["requiredrsasize"]) >= 3072


def log_in(host: Host, user: str, keys: str, at: Listener) -> str:
    """Try to log in with a key that the account accepts, and return what came of it."""
    home: str = host.user(user).home
    file = keys.replace("%h", home).replace("%u", user)
    path = file if file.startswith("/") else f"{home}/{file}"
    answer: str = host.check_output(
        "sh -c %s login %s %s %s %s", LOGIN, user, path, str(at.port), at.local
    )
    return answer.strip()


def test_admin_gets_in_with_a_key(
    host: Host, spec: Spec, ssh_listener: Listener, scratch_keys: str
) -> None:
    answer = log_in(host, spec.admin.user, scratch_keys, ssh_listener)
    assert answer.splitlines()[-1] == "is-in"


def test_root_does_not_get_in_even_with_a_key(
    host: Host, ssh_listener: Listener, scratch_keys: str
) -> None:
    answer = log_in(host, "root", scratch_keys, ssh_listener)
    assert "Permission denied" in answer


def test_sshd_starts_at_boot(host: Host) -> None:
    # Ubuntu starts it by its socket. Source: Ubuntu 24.04 release notes, "OpenSSH".
    states = host.run("systemctl is-enabled ssh.service ssh.socket").stdout.split()
    assert "enabled" in states
