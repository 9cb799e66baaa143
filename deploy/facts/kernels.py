"""The kernels of a host's disk. `uname -r` is no guide: in a container it names the host's."""

from dataclasses import dataclass

from pyinfra.api import FactBase

from deploy.facts import clock


@dataclass(frozen=True, kw_only=True)
class Module:
    """NVIDIA's kernel module: its file, its version, and the kernel that it was built for."""

    path: str
    version: str
    built_for: str


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A kernel by its release, whether its headers are there, and NVIDIA's modules for it."""

    release: str
    headers: bool = False
    modules: tuple[Module, ...] = ()


#: Debian renames the module after its flavour.
#: Source: Debian's nvidia-graphics-drivers, debian/module/debian/dkms.conf.in.
NAMES = ("nvidia.ko*", "nvidia-current.ko*", "nvidia-current-open.ko*")


class Kernels(FactBase[list[Kernel]]):
    """Kernels that are installed whole, in the order of their names."""

    def command(self) -> str:
        """Print ``kernel RELEASE yes|no``, then ``module VERSION KERNEL PATH`` for each module.

        A folder without modules.builtin is what a removed kernel left behind.
        """
        names = " -o ".join(f"-name '{name}'" for name in NAMES)
        return (
            "for d in /lib/modules/*/; do test -e $d/modules.builtin || continue;"
            " k=$(basename $d); test -e $d/build/include && h=yes || h=no; echo kernel $k $h;"
            f" find $d {names} | sort | while read -r f; do"
            " echo module $(modinfo -F version $f) $(modinfo -F vermagic $f | cut -d' ' -f1) $f;"
            " done; done"
        )

    @staticmethod
    def default() -> list[Kernel]:
        """Return no kernel."""
        return []

    def process(self, output: list[str]) -> list[Kernel]:
        """Join each kernel with the modules that follow it."""
        found: list[Kernel] = []
        for line in output:
            kind, *words = line.split()
            if kind == "kernel":
                found.append(Kernel(release=words[0], headers=words[1] == "yes"))
            elif words[2:]:
                module = Module(version=words[0], built_for=words[1], path=words[2])
                last = found.pop()
                modules = (*last.modules, module)
                found.append(Kernel(release=last.release, headers=last.headers, modules=modules))
        return found


class StaleInitramfs(FactBase[list[str]]):
    """Initramfs images that are older than a file that goes into them, or may be."""

    def command(self, paths: tuple[str, ...]) -> str:
        """Print the clocks, and when each image and each file was written."""
        return (
            f"{clock.NOW}; stat -L -c 'image %.6Y %n' /boot/initrd.img-* 2>/dev/null;"
            f" stat -L -c 'file %.6Y %n' {' '.join(paths)} 2>/dev/null; true"
        )

    @staticmethod
    def default() -> list[str]:
        """Return none."""
        return []

    def process(self, output: list[str]) -> list[str]:
        """Compare."""
        now, *lines = output
        moment = clock.parse_now(now)
        rows = [line.split(" ", 2) for line in lines]
        files = [float(time) for kind, time, _ in rows if kind == "file"]
        images = [(float(time), name) for kind, time, name in rows if kind == "image"]
        return [name for made, name in images if clock.is_older(made, files, moment)]
