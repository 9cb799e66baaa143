"""The figures of many hosts, for people and for programs."""

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import table
from bench.peers import charts
from bench.peers.spread import spread

#: Fifty hosts at most this many times as long as one.
TARGET = 4.0
LABELS = {
    "cube": "cube apply", "pyinfra": "pyinfra -y --no-wait", "mitogen": "Ansible, mitogen",
    "pipelining": "Ansible, pipelining + ControlPersist",
    "login": "the limit: OpenSSH's login to each host",
}  # fmt: skip
#: Told where the target is missed.
LIMIT = """What bounds it: a host more costs `cube apply` a login by OpenSSH (the limit above),
two short commands over it, and pyinfra's own login; here the hosts' side of all that shares the
processors. Most of a login is OpenSSH's post-quantum key exchange ([hardware.md](hardware.md)),
which is the user's to choose, not ours."""
OURS = [LABELS["cube"], LABELS["pyinfra"]]
INTRODUCTION = "The same role with nothing to change, all hosts at once (Ansible: a fork for each)."
STAND_INS = """The hosts are root file systems with an sshd on this machine, whose processors they
share; they have no systemd, so the layer is four operations. What all of layer 1 costs a host:
[figures.md](figures.md)."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a command.

    Args:
        command: a name in LABELS.
        hosts: how many.
        seconds: of the command.
        cpu_s: processor time of the command and its children; that of the hosts is not in it.
        load: processes that waited for a processor before; see uptime(1).
    """

    command: str
    hosts: int
    seconds: float
    cpu_s: float
    load: float


def as_json(done: list[Run], *, stand_ins: bool) -> dict[str, Any]:
    """Return the runs and what they come to as JSON-like data.

    Args:
        done: the runs.
        stand_ins: whether the hosts were made for the benchmark.
    """
    return {"processors": os.cpu_count(), "target": TARGET, "stand_ins": stand_ins,
            "runs": [asdict(one) for one in done], "figures": figures(done)}  # fmt: skip


def section(data: Any, folder: Path) -> str:  # noqa: ANN401 (JSON)
    """Draw the plot into a folder; return what `as_json` made, and the plot, as Markdown."""
    head = f"{INTRODUCTION} {STAND_INS}" if data["stand_ins"] else INTRODUCTION
    most = max(one["hosts"] for one in data["figures"])
    title = f"Nothing to do on {most} hosts"
    (folder / "hosts.svg").write_text(plot(data["runs"], most, f"{title}, seconds"))
    table = f"{markdown(data['figures'])}\n\nprocessors {data['processors']}."
    return f"{head}\n\n{table}\n\n![{title}]({folder.name}/hosts.svg)"


def plot(runs: Sequence[Mapping[str, Any]], hosts: int, title: str) -> str:
    """Return an SVG of all commands on so many hosts."""
    taken = {
        label: [one["seconds"] for one in runs if (one["command"], one["hosts"]) == (name, hosts)]
        for name, label in LABELS.items()
    }
    bars = {label: spread(seconds) for label, seconds in taken.items() if seconds}
    return charts.draw(title, bars, OURS)


def figures(done: list[Run]) -> list[dict[str, float | int | str]]:
    """Return median, range and ratio for each command and number of hosts."""
    found: list[dict[str, float | int | str]] = []
    for command in LABELS:
        groups: dict[int, list[Run]] = {}
        for one in done:
            if one.command == command:
                groups.setdefault(one.hosts, []).append(one)
        for hosts, runs in sorted(groups.items()):
            times, alone = ([one.seconds for one in some] for some in (runs, groups[1]))
            cpu_s = statistics.median(one.cpu_s for one in runs)
            found.append({
                "command": command, "hosts": hosts, "seconds": statistics.median(times),
                "least": min(times), "most": max(times),
                "ratio": statistics.median(times) / statistics.median(alone),
                "cpu_s": cpu_s, "cpu_s_per_host": cpu_s / hosts,
                "load": statistics.median(one.load for one in runs),
            })  # fmt: skip
    return found


def markdown(found: list[dict[str, float | int | str]]) -> str:
    """Return the figures as a table."""
    heads = ["command", "hosts", "seconds, median (range)", "ratio to one host",
             "processor time, s", "a host, s", "load before", "target"]  # fmt: skip
    last = max(int(one["hosts"]) for one in found)
    told = table.table(heads, [
        [
            LABELS[str(one["command"])], str(one["hosts"]),
            f"{one['seconds']:.1f} ({one['least']:.1f}-{one['most']:.1f})", f"{one['ratio']:.1f}",
            f"{one['cpu_s']:.1f}", f"{one['cpu_s_per_host']:.2f}", f"{one['load']:.1f}",
            verdict(one) if one["hosts"] == last and LABELS[str(one["command"])] in OURS else "",
        ]
        for one in found
    ])  # fmt: skip
    return told if "MISSED" not in told else f"{told}\n\n{LIMIT}"


def verdict(one: dict[str, float | int | str]) -> str:
    """Say whether the target was met."""
    met = "met" if float(one["ratio"]) <= TARGET else "MISSED"
    return f"at most {TARGET:.0f}: {met}"
