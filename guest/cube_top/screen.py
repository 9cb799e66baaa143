"""The screen: a snapshot drawn into a width and a height."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, JustifyMethod, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from guest.cube_top.glyphs import Glyphs, age_text, bytes_text, heat, known, pair_text
from guest.cube_top.gpus import Gpu, Gpus
from guest.cube_top.health import Health, Layer
from guest.cube_top.snapshot import Snapshot
from guest.cube_top.system import Space, Task

#: Two runs of the health checks, one every 15 minutes, were missed.
STALE_S = 2400
#: A GPU slows itself down at about 90.
HOT_C = 85


#: Failed checks on the screen; the rest is counted.
FAULTS = 3
#: Lines that the screen takes beside GPUs, faults, disks and interfaces, and processes.
ROWS = 14
FEWEST_TASKS = 3
#: Characters from which there is room for whole units.
WIDE = 110
COLORS = {"pass": "green", "fail": "red", "error": "yellow", "not_run": "yellow"}
WORDS = {"pass": "healthy", "fail": "FAULTY", "error": "UNCERTAIN", "not_run": "NOT CHECKED"}


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
