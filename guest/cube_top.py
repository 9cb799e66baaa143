#!/usr/bin/python3
"""Show this Cube on one screen: CPU, memory, disks, network, GPUs, layers, health.

One file for the system's own Python, with python3-rich and python3-psutil. What cannot be
read is left out or named; nothing here needs root, a GPU or a clever terminal.
"""

import argparse
import contextlib
import csv
import dataclasses
import errno
import json
import math
import os
import platform
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich import box
from rich.console import Console, Group, JustifyMethod, OverflowMethod, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

#: A fake root for state files and sysfs, in tests; what is shown is then marked as simulated.
ROOT = Path(os.environ.get("CUBE_ROOT", "/"))
LAYERS = range(1, 6)
SMI_LIMIT_S = 15
SAMPLE_S = 0.5
SHORTEST_S, LONGEST_S = 0.2, 3600
#: Two runs of the health checks, one every 15 minutes, were missed.
STALE_S = 2400
#: Processes that are kept.
TASKS = 10
#: Percent from which a load is drawn in yellow, and in red.
BUSY, FULL = 70, 90
#: A GPU slows itself down at about 90.
HOT_C = 85

# --- what is read -------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """Use in percent, temperature in degrees Celsius."""

    model: str
    percent: float
    cores: tuple[float, ...]
    load: tuple[float, float, float]
    temperature_c: float | None


@dataclass(frozen=True, kw_only=True)
class Space:
    """Something with a size, in bytes."""

    name: str
    used: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Link:
    """A network interface; rates in bytes a second."""

    name: str
    up: bool
    address: str
    received_bps: float
    sent_bps: float


@dataclass(frozen=True, kw_only=True)
class Task:
    """A process: percent of one core, resident memory in bytes."""

    pid: int
    name: str
    user: str
    cpu_percent: float
    memory: int


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU; None is what its driver does not tell."""

    index: str
    name: str
    lost: bool
    utilization_percent: float | None = None
    memory_used_mib: float | None = None
    memory_total_mib: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    pcie_generation: float | None = None
    pcie_width: float | None = None


@dataclass(frozen=True, kw_only=True)
class Gpus:
    """All GPUs; `problem` says why there are none to see, or what else is wrong."""

    gpus: tuple[Gpu, ...] = ()
    problem: str = ""
    present: bool = True


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer: empty recipe when it is not on this box; outcome of its last health check."""

    number: int
    recipe: str
    outcome: str


@dataclass(frozen=True, kw_only=True)
class Health:
    """The last result of cube-health; age in seconds."""

    outcome: str
    summary: str
    faults: tuple[str, ...]
    age_s: float | None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything on the screen; disk rates in bytes a second."""

    time: str
    evidence: str
    image: str
    version: str
    hostname: str
    os: str
    kernel: str
    uptime_s: float
    cpu: Cpu
    memory: Space
    swap: Space
    disks: tuple[Space, ...]
    read_bps: float
    written_bps: float
    links: tuple[Link, ...]
    tasks: tuple[Task, ...]
    gpus: Gpus
    layers: tuple[Layer, ...]
    health: Health


def read_json(path: str) -> dict[str, Any]:
    """Return a state file; nothing when it is missing or damaged."""
    try:
        data = json.loads((ROOT / path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return table(data)


def table(data: object) -> dict[str, Any]:
    """Return a JSON object; an empty one in place of anything else."""
    return data if isinstance(data, dict) else {}


def tables(data: object) -> list[dict[str, Any]]:
    """Return the objects of a JSON list."""
    return [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []


class Meter:
    """Turns counters into rates between one reading and the next."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}

    def rate(self, name: str, value: float) -> float:
        """Return the growth a second since the last call for this name; 0 at the first."""
        now = time.monotonic()
        before, then = self._last.get(name, (value, now))
        self._last[name] = (value, now)
        return max(0.0, (value - before) / (now - then)) if now > then else 0.0


def read_cpu() -> Cpu:
    """Read the processor; the first reading of a process has no percentages yet."""
    cores = psutil.cpu_percent(percpu=True)
    return Cpu(
        model=cpu_model(),
        percent=sum(cores) / len(cores) if cores else 0.0,
        cores=tuple(cores),
        load=os.getloadavg(),
        temperature_c=cpu_temperature(),
    )


def cpu_model() -> str:
    """Return the processor's name, without the words that only fill the line."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2]
                for noise in ("(R)", "(TM)", "Processor", "CPU"):
                    name = name.replace(noise, "")
                return " ".join(name.partition("@")[0].split())
    return platform.machine()


def cpu_temperature() -> float | None:
    """Return the hottest reading of the processor's own sensor."""
    sensors: dict[str, Any] = {}
    with contextlib.suppress(OSError, AttributeError):
        sensors = psutil.sensors_temperatures()
    readings = [s.current for name in ("k10temp", "coretemp") for s in sensors.get(name, [])]
    return max(readings, default=None)


def read_disks() -> tuple[Space, ...]:
    """Read the file systems on disks, / first, each device once."""
    mounts = {"/": "/"}
    for part in psutil.disk_partitions(all=False):
        if part.fstype not in {"squashfs", "iso9660"} and not part.mountpoint.startswith("/run/"):
            mounts.setdefault(part.mountpoint, part.device)
    devices: dict[int, str] = {}
    for mount in sorted(mounts):
        with contextlib.suppress(OSError):
            devices.setdefault(Path(mount).stat().st_dev, mount)
    return tuple(space for mount in devices.values() if (space := read_disk(mount)))


def read_disk(mount: str) -> Space | None:
    """Read one file system."""
    try:
        usage = psutil.disk_usage(mount)
    except OSError:
        return None
    return Space(name=mount, used=usage.used, total=usage.used + usage.free)


def read_links(meter: Meter) -> tuple[Link, ...]:
    """Read the network interfaces that a person plugs or sets up; those in use first."""
    stats, counters = psutil.net_if_stats(), psutil.net_io_counters(pernic=True)
    addresses = psutil.net_if_addrs()
    links = [
        Link(
            name=name,
            up=stats[name].isup,
            address=ipv4(addresses.get(name, [])),
            received_bps=meter.rate(f"{name} in", count.bytes_recv),
            sent_bps=meter.rate(f"{name} out", count.bytes_sent),
        )
        for name, count in counters.items()
        if name in stats and is_worth_showing(name, ipv4(addresses.get(name, [])))
    ]
    return tuple(sorted(links, key=lambda link: (not link.address, not link.up, link.name)))


def ipv4(addresses: Sequence[Any]) -> str:
    """Return the first IPv4 address of an interface."""
    return next((a.address for a in addresses if a.family == socket.AF_INET), "")


def is_worth_showing(name: str, address: str) -> bool:
    """Tell the cards, plugged in or not, and what has an address from the rest."""
    return name != "lo" and (bool(address) or Path(f"/sys/class/net/{name}/device").exists())


def read_tasks() -> tuple[Task, ...]:
    """Read the processes that take most processor time since the last reading."""
    tasks = []
    for process in psutil.process_iter(["pid", "name", "username", "cpu_percent", "memory_info"]):
        info = process.info
        memory = info["memory_info"]
        tasks.append(
            Task(
                pid=info["pid"],
                name=info["name"] or "?",
                user=info["username"] or "?",
                cpu_percent=info["cpu_percent"] or 0.0,
                memory=memory.rss if memory else 0,
            )
        )
    return tuple(sorted(tasks, key=lambda task: (-task.cpu_percent, -task.memory))[:TASKS])


def read_layers(health: dict[str, Any]) -> tuple[Layer, ...]:
    """Read which layers this box has, and what the last check of each said."""
    recorded = table(read_json("var/lib/cube/layers.json").get("layers"))
    outcomes = {r.get("check"): str(r.get("outcome", "")) for r in tables(health.get("results"))}
    return tuple(
        Layer(
            number=number,
            recipe=str(table(recorded.get(str(number))).get("recipe", ""))[:8],
            outcome=outcomes.get(f"layer{number}", ""),
        )
        for number in LAYERS
    )


def read_health(health: dict[str, Any]) -> Health:
    """Read the last result of cube-health."""
    age = None
    with contextlib.suppress(KeyError, ValueError, TypeError):
        age = (datetime.now(UTC) - datetime.fromisoformat(health["time"])).total_seconds()
    return Health(
        outcome=str(health.get("outcome", "unknown")),
        summary=str(health.get("summary", "no result yet: sudo cube-health")),
        faults=tuple(read_faults(health)),
        age_s=age,
    )


def read_faults(health: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each check that failed or could not run."""
    for result in tables(health.get("results")):
        if result.get("outcome") == "error":
            yield f"{result.get('check')} could not run: {result.get('reason')}"
        for item in tables(result.get("checks")):
            if item.get("status") == "FAIL":
                yield f"{result.get('check')} {item.get('name')}: {item.get('detail')}"


def read_os() -> str:
    """Return the operating system's name."""
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return "Linux"


def take_snapshot(meter: Meter, gpus: Gpus) -> Snapshot:
    """Read everything but the GPUs, which may answer slowly and are read elsewhere."""
    release, health = read_json("etc/cube/release.json"), read_json("var/lib/cube/health.json")
    memory, swap, disk = psutil.virtual_memory(), psutil.swap_memory(), psutil.disk_io_counters()
    return Snapshot(
        time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        evidence="simulated" if "CUBE_ROOT" in os.environ else "hardware",
        image=str(release.get("name", "unnamed image")),
        version=str(release.get("version", "")),
        hostname=platform.node(),
        os=read_os(),
        kernel=platform.release(),
        uptime_s=time.time() - psutil.Process(1).create_time(),
        cpu=read_cpu(),
        memory=Space(name="RAM", used=memory.total - memory.available, total=memory.total),
        swap=Space(name="swap", used=swap.used, total=swap.total),
        disks=read_disks(),
        read_bps=meter.rate("read", disk.read_bytes if disk else 0),
        written_bps=meter.rate("written", disk.write_bytes if disk else 0),
        links=read_links(meter),
        tasks=read_tasks(),
        gpus=gpus,
        layers=read_layers(health),
        health=read_health(health),
    )


# --- GPUs ---------------------------------------------------------------------------------

REQUIRED = ("index", "name", "memory.total", "memory.used", "utilization.gpu", "temperature.gpu")
#: Fields that some drivers do not know; one unknown field makes nvidia-smi refuse them all.
OPTIONAL = (
    "power.draw", "power.limit", "pcie.link.gen.gpucurrent", "pcie.link.gen.current",
    "pcie.link.width.current",
)  # fmt: skip
#: Source: nvidia-smi(1), "RETURN VALUE".
SMI_CODES = {9: "the NVIDIA driver is not loaded", 12: "the library libnvidia-ml is missing"}


class SmiError(Exception):
    """nvidia-smi did not answer; the text says why."""


#: Programs that were asked and have not answered yet; they end with this one.
ASKED: set["subprocess.Popen[str]"] = set()


def run(argv: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, at most `SMI_LIMIT_S` seconds.

    Raises:
        OSError: it cannot be started.
        TimeoutExpired: it took longer, and was killed.
    """
    child = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    ASKED.add(child)
    try:
        output, errors = child.communicate(timeout=SMI_LIMIT_S)
    finally:
        child.kill()
        ASKED.discard(child)
    return subprocess.CompletedProcess(argv, child.returncode, output, errors)


def query(fields: Sequence[str]) -> list[dict[str, str]]:
    """Ask nvidia-smi for fields of every GPU.

    Raises:
        SmiError: it is missing, hangs or refuses.
    """
    argv = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        done = run(argv)
    except FileNotFoundError as error:
        raise SmiError("nvidia-smi is not installed") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SmiError(f"nvidia-smi gives no answer: {type(error).__name__}") from error
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
        raise SmiError(SMI_CODES.get(done.returncode, lines[-1]))
    rows = csv.reader(done.stdout.splitlines(), skipinitialspace=True)
    return [dict(zip(fields, row, strict=False)) for row in rows if row]


def known_fields() -> tuple[str, ...]:
    """Return the fields that this driver knows, the optional ones asked one by one."""
    known = list(REQUIRED)
    for field in OPTIONAL:
        with contextlib.suppress(SmiError):
            query(("index", field))
            known.append(field)
    return tuple(known)


def number(text: str | None) -> float | None:
    """Return a value; None for "[N/A]" and the like, which is not zero."""
    with contextlib.suppress(TypeError, ValueError):
        return float(text or "")
    return None


def parse_gpu(row: dict[str, str]) -> Gpu:
    """Build a GPU from its line; a lost one answers with words instead of numbers."""
    lost = any("lost" in value.lower() for value in row.values())
    generation = row.get("pcie.link.gen.gpucurrent") or row.get("pcie.link.gen.current")
    return Gpu(
        index=row.get("index", "?"),
        name="" if lost else short_name(row.get("name", "")),
        lost=lost,
        utilization_percent=number(row.get("utilization.gpu")),
        memory_used_mib=number(row.get("memory.used")),
        memory_total_mib=number(row.get("memory.total")),
        temperature_c=number(row.get("temperature.gpu")),
        power_w=number(row.get("power.draw")),
        power_limit_w=number(row.get("power.limit")),
        pcie_generation=number(generation),
        pcie_width=number(row.get("pcie.link.width.current")),
    )


def short_name(name: str) -> str:
    """Return a GPU's name without the words that all of them have."""
    return name.replace("NVIDIA ", "").replace("GeForce ", "")


def gpus_on_bus() -> int:
    """Count NVIDIA's display controllers. Source: the PCI ID registry: vendor 10de, class 03."""
    count = 0
    for device in ROOT.glob("sys/bus/pci/devices/*"):
        with contextlib.suppress(OSError):
            vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
            count += vendor == "0x10de" and kind.startswith("0x03")
    return count


def read_gpus(fields: Sequence[str]) -> Gpus:
    """Read the GPUs, or say why there are none to see."""
    on_bus = gpus_on_bus()
    try:
        gpus = tuple(parse_gpu(row) for row in query(fields))
    except SmiError as error:
        if on_bus == 0:
            return Gpus(problem="this machine has no NVIDIA GPU", present=False)
        return Gpus(problem=f"{on_bus} on the PCI bus, but {error}")
    missing = on_bus - len(gpus)
    return Gpus(gpus=gpus, problem=f"{missing} on the PCI bus do not answer" if missing > 0 else "")


class GpuReader:
    """Reads the GPUs in a thread: a sick driver may take long, the screen must not wait."""

    def __init__(self, interval_s: float) -> None:
        self.latest = Gpus(problem="being read")
        self._interval_s = interval_s
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        fields = known_fields()
        while True:
            self.latest = read_gpus(fields)
            time.sleep(self._interval_s)


# --- how it looks -------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Glyphs:
    """Characters that the terminal can show."""

    full: str
    empty: str
    levels: str
    dot: str
    ring: str
    down: str
    up: str
    dash: str
    degree: str
    box: box.Box
    overflow: OverflowMethod = "ellipsis"


RICH = Glyphs(
    full="━", empty="─", levels="▁▂▃▄▅▆▇█", dot="●", ring="○", down="↓", up="↑", dash="·",
    degree="°C", box=box.ROUNDED,
)  # fmt: skip
#: The text console's font has few signs. Source: setfont(8) with Lat15-Fixed16.
CONSOLE = Glyphs(
    full="█", empty="░", levels="░▒▓█", dot="*", ring="-", down="in", up="out", dash="-",
    degree="°C", box=box.SQUARE,
)  # fmt: skip
ASCII = Glyphs(
    full="#", empty=".", levels=".:-=+*#", dot="*", ring="-", down="in", up="out", dash="-",
    degree="C", box=box.ASCII, overflow="crop",
)  # fmt: skip

#: Failed checks on the screen; the rest is counted.
FAULTS = 3
#: Lines that the screen takes beside GPUs, faults, disks and interfaces, and processes.
ROWS = 14
FEWEST_TASKS = 3
#: Characters from which there is room for whole units.
WIDE = 110
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
UNITS_WHOLE_FROM = 100
COLORS = {"pass": "green", "fail": "red", "error": "yellow", "not_run": "yellow"}
WORDS = {"pass": "healthy", "fail": "FAULTY", "error": "UNCERTAIN", "not_run": "NOT CHECKED"}


def choose_glyphs(console: Console) -> Glyphs:
    """Return the richest characters that this terminal shows."""
    term = os.environ.get("TERM", "")
    if not console.encoding.lower().startswith("utf") or term in {"dumb", "unknown"}:
        return ASCII
    return CONSOLE if term == "linux" else RICH


def heat(percent: float) -> str:
    """Return the colour of a load."""
    return "red" if percent >= FULL else "yellow" if percent >= BUSY else "green"


def bytes_text(value: float) -> str:
    """Return a size in binary units, three digits."""
    steps = min(int(math.log(max(value, 1) * 1024 / 1000, 1024)), len(UNITS) - 1)
    scaled = value / 1024**steps
    digits = 1 if steps and scaled < UNITS_WHOLE_FROM else 0
    return f"{scaled:.{digits}f} {UNITS[steps]}"


def pair_text(used: float, total: float) -> str:
    """Return ``3.2/62 GiB``: both in the unit of the second."""
    text = bytes_text(total)
    amount, unit = text.split()
    scale = total / float(amount) if float(amount) else 1
    return f"{used / scale:.1f}/{amount} {unit}"


def age_text(seconds: float) -> str:
    """Return a duration in its two largest units."""
    hours, minutes = divmod(int(seconds) // 60, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def fault_lines(health: Health) -> int:
    """Return how many lines the faults take."""
    return min(len(health.faults), FAULTS + 1)


@dataclass(frozen=True, kw_only=True)
class Screen:
    """Draws a snapshot into a width and a height, in characters."""

    glyphs: Glyphs
    width: int
    height: int

    def draw(self, shot: Snapshot, *, hint: str = "") -> RenderableType:
        """Return the whole screen: what matters most comes first, a low one loses the end."""
        spare = self.height - ROWS - max(1, len(shot.gpus.gpus)) - fault_lines(shot.health)
        lines = max(1, min(spare, max(len(shot.disks), len(shot.links))))
        rows: list[RenderableType] = [
            self.header(shot),
            self.health(shot),
            self.row(self.cpu(shot), self.memory(shot)),
            self.gpus(shot.gpus),
            self.row(self.disks(shot, lines), self.links(shot, lines)),
        ]
        if spare - lines >= FEWEST_TASKS + 2:
            rows.append(self.tasks(shot.tasks[: spare - lines - 2]))
        if hint:
            rows.append(Text(f" {hint}", style="dim"))
        return Group(*rows)

    def row(self, left: RenderableType, right: RenderableType) -> Table:
        """Put two panels side by side."""
        grid = Table.grid(expand=True)
        grid.add_column(ratio=1)
        grid.add_column(ratio=1)
        grid.add_row(left, right)
        return grid

    def text(self, text: str, *, style: str = "") -> Text:
        """Return a line that is cut where the screen ends."""
        return Text(text, style=style, no_wrap=True, overflow=self.glyphs.overflow)

    def grid(self, *columns: JustifyMethod) -> Table:
        """Start a table without lines."""
        grid = Table.grid(expand=True, padding=(0, 1))
        for justify in columns:
            grid.add_column(justify=justify, no_wrap=True, overflow=self.glyphs.overflow)
        return grid

    def panel(
        self,
        title: str,
        body: RenderableType,
        *,
        note: str = "",
        style: str = "cyan",
        lines: int | None = None,
    ) -> Panel:
        """Frame something under a title and a note, to a height of so many lines if given."""
        heading = Text(title, style="bold").append(f" {note}" if note else "", style="not bold")
        return Panel(
            body,
            title=heading,
            title_align="left",
            box=self.glyphs.box,
            border_style=style,
            padding=(0, 1),
            height=lines + 2 if lines else None,
        )

    def bar(self, percent: float, width: int, *, color: str = "") -> Text:
        """Draw a bar of so many characters."""
        full = round(width * min(max(percent, 0), 100) / 100)
        text = Text(self.glyphs.full * full, style=color or heat(percent))
        return text.append(self.glyphs.empty * (width - full), style="bright_black")

    def header(self, shot: Snapshot) -> Table:
        """Name the machine."""
        dash = f" {self.glyphs.dash} "
        name = f" {shot.image} {shot.version}".rstrip()
        left = self.text(name, style="bold cyan")
        if shot.evidence == "simulated":
            left.append(" SIMULATED", style="bold reverse yellow")
        parts = [shot.hostname, f"up {age_text(shot.uptime_s)}", shot.os, shot.kernel]
        left.append(dash + dash.join(parts), style="default")
        grid = Table.grid(expand=True)
        grid.add_column(ratio=1, no_wrap=True, overflow=self.glyphs.overflow)
        grid.add_column(justify="right", no_wrap=True)
        grid.add_row(left, Text(f"{shot.time[11:19]} UTC ", style="dim"))
        return grid

    def health(self, shot: Snapshot) -> Panel:
        """Draw health and layers."""
        health = shot.health
        color = COLORS.get(health.outcome, "yellow")
        line = self.text("")
        line.append(f"{self.glyphs.dot} {WORDS.get(health.outcome, 'NOT CHECKED')}", style=color)
        if health.age_s is not None:
            stale = not 0 <= health.age_s <= STALE_S  # the clock may have been set back
            line.append(f" {age_text(health.age_s)} ago", style="yellow" if stale else "dim")
        line.append("   layers")
        for layer in shot.layers:
            line.append_text(self.layer(layer))
        lines = [self.text(f"  {fault}") for fault in health.faults[:FAULTS]]
        if len(health.faults) > FAULTS:
            lines.append(Text(f"  and {len(health.faults) - FAULTS} more: sudo cube-health"))
        return self.panel("Health", Group(line, *lines), style=color)

    def layer(self, layer: Layer) -> Text:
        """Draw one layer: its number, how it is, which recipe made it."""
        if not layer.recipe:
            return Text(f"  {layer.number} {self.glyphs.ring}", style="bright_black")
        style = COLORS.get(layer.outcome, "yellow")
        return Text(f"  {layer.number} {self.glyphs.dot} {layer.recipe}", style=style)

    def cpu(self, shot: Snapshot) -> Panel:
        """Draw the processor."""
        cpu = shot.cpu
        levels = self.glyphs.levels
        cores = self.text("")
        for percent in cpu.cores[: self.width // 2 - 4]:
            step = min(int(percent / 100 * len(levels)), len(levels) - 1)
            cores.append(levels[step], style=heat(percent))
        facts = f"{len(cpu.cores)} cores   load " + " ".join(f"{x:.2f}" for x in cpu.load)
        if cpu.temperature_c is not None:
            facts += f"   {cpu.temperature_c:.0f} {self.glyphs.degree}"
        bar = self.bar(cpu.percent, self.width // 2 - 10).append(f" {cpu.percent:3.0f} %")
        model = cpu.model[: self.width // 2 - 12]
        return self.panel("CPU", Group(bar, cores, self.text(facts)), note=model)

    def memory(self, shot: Snapshot) -> Panel:
        """Draw memory, swap and disk traffic."""
        lines = [self.space(space, 6) for space in (shot.memory, shot.swap)]
        read, written = self.rate(shot.read_bps), self.rate(shot.written_bps)
        traffic = f"disks read {read}  write {written}"
        return self.panel("Memory", Group(*lines, self.text(traffic)))

    def space(self, space: Space, label: int) -> Text:
        """Draw something with a size."""
        name = space.name if len(space.name) <= label - 1 else f"{space.name[: label - 2]}~"
        if not space.total:
            return Text(f"{name:<{label}} none", style="dim")
        percent = 100 * space.used / space.total
        amount = pair_text(space.used, space.total)
        width = max(4, self.width // 2 - 4 - label - 22)
        text = self.text(f"{name:<{label}}").append_text(self.bar(percent, width))
        return text.append(f" {percent:3.0f} % {amount:>15}")

    def disks(self, shot: Snapshot, lines: int) -> Panel:
        """Draw the file systems."""
        disks = [self.space(disk, 10) for disk in shot.disks[:lines]]
        return self.panel("Disks", Group(*disks), lines=lines)

    def links(self, shot: Snapshot, lines: int) -> Panel:
        """Draw the network interfaces."""
        grid = self.grid("left", "left", "right", "right")
        for link in shot.links[:lines]:
            style = "default" if link.up else "bright_black"
            rates = [
                f"{self.glyphs.down} {self.rate(link.received_bps)}",
                f"{self.glyphs.up} {self.rate(link.sent_bps)}",
            ]
            words = (link.name[:9], link.address if link.up else "down", *rates)
            grid.add_row(*[Text(word, style=style) for word in words])
        if not shot.links:
            grid.add_row(Text("no interface", style="dim"))
        return self.panel("Network", grid, lines=lines)

    def rate(self, value: float) -> str:
        """Return bytes a second, short where there is no room."""
        text = bytes_text(value)
        return f"{text}/s" if self.width >= WIDE else text.replace("iB", "").replace(" ", "")

    def tasks(self, tasks: Sequence[Task]) -> Panel:
        """Draw the busiest processes."""
        grid = self.grid("right", "left", "left", "right", "right")
        for task in tasks:
            cpu = Text(f"{task.cpu_percent:.0f} %", style=heat(task.cpu_percent))
            words = [Text(word) for word in (str(task.pid), task.name, task.user)]
            grid.add_row(*words, cpu, bytes_text(task.memory))
        return self.panel("Busiest processes", grid)

    def gpus(self, gpus: Gpus) -> Panel:
        """Draw the GPUs, or say why there are none to see."""
        if not gpus.gpus:
            text = self.text(gpus.problem, style="yellow" if gpus.present else "dim")
            return self.panel("GPUs", text)
        grid = self.grid("left", "left", "left", "right", "right", "right")
        for gpu in gpus.gpus:
            grid.add_row(*self.gpu(gpu))
        return self.panel("GPUs", grid, note=gpus.problem)

    def gpu(self, gpu: Gpu) -> list[Text]:
        """Draw the cells of one GPU."""
        if gpu.lost:
            return [
                Text(f"{gpu.index} {gpu.name[:14]}"),
                Text("LOST", style="bold red"),
            ]
        width = max(6, (self.width - 62) // 2)
        use, used, total = gpu.utilization_percent, gpu.memory_used_mib, gpu.memory_total_mib
        percent = 100 * used / total if used is not None and total else None
        memory = "?" if percent is None else pair_text((used or 0) * 2**20, (total or 0) * 2**20)
        hot = gpu.temperature_c is not None and gpu.temperature_c > HOT_C
        power = [f"{x:.0f}" for x in (gpu.power_w, gpu.power_limit_w) if x is not None]
        return [
            Text(f"{gpu.index} {gpu.name[:14]}"),
            self.gauge(use, width, "" if use is None else f" {use:3.0f} %", color="cyan"),
            self.gauge(percent, width, f" {memory}"),
            Text(known(gpu.temperature_c, f" {self.glyphs.degree}"), style="red" if hot else ""),
            Text(f"{'/'.join(power)} W" if power else "? W"),
            Text(f"{known(gpu.pcie_generation)}x{known(gpu.pcie_width)}"),
        ]

    def gauge(self, percent: float | None, width: int, text: str, *, color: str = "") -> Text:
        """Draw a bar with its value; a value that nobody knows is no empty bar."""
        if percent is None:
            return Text("? ", style="dim")
        return self.bar(percent, width, color=color).append(text, style="default")


def known(value: float | None, unit: str = "") -> str:
    """Return a whole number with its unit, or a question mark."""
    return "?" if value is None else f"{value:.0f}{unit}"


# --- how it runs --------------------------------------------------------------------------

#: What reading or writing says when the other side is gone: a pipe, or a terminal without SIGHUP.
#: Source: read(2), write(2); ENXIO and ENODEV of a terminal whose device was removed.
GONE = (errno.EPIPE, errno.EIO, errno.ENXIO, errno.ENODEV)


@contextlib.contextmanager
def keyboard() -> Iterator[Callable[[float], str]]:
    """Read single keys; yields a function that waits so many seconds for one."""
    stream = sys.stdin.fileno()
    before = termios.tcgetattr(stream)

    def key(seconds: float) -> str:
        ready, _, _ = select.select([stream], [], [], seconds)
        if not ready:
            return ""
        if pressed := os.read(stream, 1):
            return pressed.decode(errors="replace")
        raise OSError(errno.EIO, "the terminal is gone")

    try:
        tty.setcbreak(stream)
        yield key
    finally:
        with contextlib.suppress(termios.error):  # of a terminal that is gone
            termios.tcsetattr(stream, termios.TCSADRAIN, before)


def show_live(console: Console, interval_s: float) -> None:
    """Redraw until q is pressed."""
    meter, reader, glyphs = Meter(), GpuReader(interval_s), choose_glyphs(console)
    take_snapshot(meter, reader.latest)
    with keyboard() as key, Live(console=console, screen=True, auto_refresh=False) as live:
        pressed = key(SAMPLE_S)
        while pressed not in {"q", "Q"}:
            width, height = console.size
            screen = Screen(glyphs=glyphs, width=width, height=height)
            shot = take_snapshot(meter, reader.latest)
            live.update(screen.draw(shot, hint="q quits"), refresh=True)
            pressed = key(interval_s)


def show_frames(console: Console, interval_s: float) -> None:
    """Print one frame after the other, for a terminal that cannot move its cursor."""
    while True:
        print_once(console)
        time.sleep(interval_s)


def print_once(console: Console) -> None:
    """Print one frame."""
    width, height = console.size
    screen = Screen(glyphs=choose_glyphs(console), width=width, height=height)
    with console.capture() as captured:
        console.print(screen.draw(sample()))
    sys.stdout.write(captured.get())
    sys.stdout.flush()


def sample() -> Snapshot:
    """Take a snapshot with rates, from two readings half a second apart."""
    meter = Meter()
    gpus = read_gpus(known_fields())
    take_snapshot(meter, gpus)
    time.sleep(SAMPLE_S)
    return take_snapshot(meter, gpus)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Show this Cube on one screen.")
    parser.add_argument("--once", action="store_true", help="print one frame and end")
    parser.add_argument("--json", action="store_true", help="print one snapshot as JSON and end")
    parser.add_argument(
        "--interval", type=float, default=2.0, metavar="SECONDS", help="between frames (2)"
    )
    options = parser.parse_args()
    if not SHORTEST_S <= options.interval <= LONGEST_S:
        parser.error(f"--interval must be between {SHORTEST_S} and {LONGEST_S} seconds")
    return options


def show(options: argparse.Namespace) -> None:
    """Do what was asked for, as far as the terminal allows."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="replace")  # a poor terminal gets question marks, not an end
    console = Console()
    if options.json:
        sys.stdout.write(json.dumps(dataclasses.asdict(sample()), indent=2) + "\n")
    elif options.once or not console.is_terminal:
        print_once(console)
    elif console.is_dumb_terminal or not sys.stdin.isatty():
        show_frames(console, max(options.interval, 5.0))
    else:
        show_live(console, options.interval)


def main() -> int:
    """Run; being told to stop is a good end."""
    options = parse_arguments()
    for number_ in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number_, lambda *_: sys.exit(0))
    try:
        show(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        if error.errno not in GONE:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        for child in tuple(ASKED):
            child.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
