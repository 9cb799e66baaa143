"""What is on a host before layers are applied: its owner's programs, sources, rules and jobs."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from cube.hosts import record, remote
from cube.hosts.target import Box
from cube.runtime.errors import CommandError

#: Each question with its script, which may print nothing. None changes anything on the host, and
#: none waits for a daemon that hangs.
#: Source: apt-get(8), indextargets; dpkg-query(1), db:Status-Abbrev; ufw(8); sshd(8), -T;
#: docs.nvidia.com, "nvidia-smi", --query-compute-apps.
QUESTIONS: Mapping[str, str] = {
    "system": '. /etc/os-release; echo "$PRETTY_NAME, kernel $(uname -r)"',
    "sources": "apt-get indextargets --format '$(SITE) $(RELEASE)' 'Identifier: Packages'"
    " | sort -u",
    "unfinished": "dpkg-query -W -f '${db:Status-Abbrev}${Package}\\n'"
    " | sed -n -e 's/^.[UFH].//p' -e 's/^..R//p'",
    "held": "apt-mark showhold",
    "engines": "dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\\n'"
    " docker-ce docker.io moby-engine podman-docker containerd containerd.io podman"
    " | sed -n 's/^installed //p'; snap list docker 2>/dev/null | sed -n 's/^docker  *\\([^ ]*\\).*"
    "/docker (snap) \\1/p'",
    "containers": "timeout 10 docker ps --format '{{.Names}}'",
    "live_restore": "timeout 10 docker info --format '{{.LiveRestoreEnabled}}'",
    "drivers": "dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\\n' 'nvidia-driver*'"
    " 'nvidia-headless*' 'nvidia-open*' 'cuda-drivers*' | sed -n 's/^installed //p';"
    " [ ! -e /usr/bin/nvidia-uninstall ] || echo 'a .run installer (/usr/bin/nvidia-uninstall)'",
    "module": "cat /sys/module/nvidia/version",
    "jobs": "timeout 20 nvidia-smi --query-compute-apps=pid,process_name --format=csv,noheader",
    "firewall": 'ufw status; [ "$(timeout 5 firewall-cmd --state 2>/dev/null)" != running ]'
    " || echo firewalld",
    "sshd": "mkdir -p /run/sshd; sshd -T",
    "claimed": f"cat {record.FILE}",
    "tables": "nft list tables 2>/dev/null || iptables-save | grep '^\\*'",
}
#: The questions whose answers can forbid an application; they take a tenth of a second.
DANGERS = ("unfinished", "containers", "live_restore", "jobs", "firewall", "claimed")
#: Seconds for all answers: a container engine or a GPU may hang.
LIMIT_S = 90


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a host answered: lines for each question; none where a program is not there."""

    answers: Mapping[str, tuple[str, ...]]

    def of(self, question: str) -> tuple[str, ...]:
        """Return the lines of an answer."""
        return self.answers.get(question, ())

    @property
    def threatened_containers(self) -> tuple[str, ...]:
        """Names of containers that would end with a restart of Docker's daemon."""
        return () if self.of("live_restore") == ("true",) else self.of("containers")

    @property
    def firewalld(self) -> bool:
        """Whether firewalld is running."""
        return "firewalld" in self.of("firewall")

    @property
    def ufw_rules(self) -> int | None:
        """How many rules an active ufw has; None: it is not active."""
        lines = [line for line in self.of("firewall") if line != "firewalld"]
        if lines[:1] != ["Status: active"]:
            return None
        return sum(
            " ALLOW" in line or " DENY" in line or " LIMIT" in line or " REJECT" in line
            for line in lines
        )

    @property
    def claimed(self) -> tuple[int, ...]:
        """Layers that have been applied; none where the note of them is damaged."""
        return record.parse("\n".join(self.of("claimed"))).layers

    def sshd(self, setting: str) -> tuple[str, ...]:
        """Return the values of a setting of sshd, in its own words."""
        start = f"{setting} "
        found = [line.removeprefix(start) for line in self.of("sshd") if line.startswith(start)]
        return tuple(found)


def ask(box: Box, questions: tuple[str, ...] = tuple(QUESTIONS)) -> Survey:
    """Ask a host, in one command.

    Args:
        box: that lets us in.
        questions: of `QUESTIONS`.

    Raises:
        MachineError: the host does not answer.
        CommandError: the answers did not come in time.
    """
    mark = secrets.token_hex(16)
    told = remote.execute(box, script(questions, mark), timeout_s=LIMIT_S).stdout
    return parse(told, mark)


def script(questions: tuple[str, ...], mark: str) -> str:
    """Return a script that answers questions, each after a line with the mark and its name."""
    parts = [f"echo; echo {mark} {name}; ({QUESTIONS[name]}) 2>/dev/null" for name in questions]
    return "\n".join(["export LC_ALL=C.UTF-8", *parts, f"echo; echo {mark} end"])


def parse(text: str, mark: str) -> Survey:
    """Read the answers to a script.

    Raises:
        CommandError: the last of them is missing.
    """
    _, *parts = text.split(f"{mark} ")
    found = {}
    for part in parts:
        name, *lines = part.splitlines()
        found[name] = tuple(line.strip() for line in lines if line.strip())
    if found.pop("end", None) is None:
        raise CommandError("the survey of the host was interrupted", output=text[-400:])
    return Survey(answers=found)
