"""What was chosen, and what the rules find about it."""

from dataclasses import dataclass
from typing import Literal

from cube.stack.profile import Framework, Profile
from cube.stack.reading import number
from cube.stack.table import Architecture, Compatibility, Gpu, System

Level = Literal["refusal", "warning"]
SourceName = Literal["nvidia", "distribution"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One sentence: what cannot work and why, or what is not known."""

    level: Level
    rule: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A GPU model, a profile, an operating system, where the driver comes from, frameworks."""

    gpu: str
    profile: Profile
    os: str
    source: SourceName
    frameworks: tuple[str, ...]
    table: Compatibility

    @property
    def model(self) -> Gpu:
        """Row of the GPU model."""
        return self.table.gpu[self.gpu]

    @property
    def architecture(self) -> Architecture:
        """Row of the model's architecture."""
        return self.table.architecture[self.model.architecture]

    @property
    def system(self) -> System:
        """Row of the operating system."""
        return self.table.system[self.os]

    @property
    def wanted(self) -> list[Framework]:
        """The frameworks that the profile has of those that are wanted."""
        known = self.profile.frameworks
        return [known[name] for name in self.frameworks if name in known]

    @property
    def driver(self) -> str:
        """The version that is installed at least: the archive's own, or the profile's."""
        archive = [d for d in self.system.drivers if branch_of(d) == self.profile.branch]
        if self.source == "distribution" and archive:
            return max(archive, key=number)
        return self.profile.driver

    def torch(self, framework: Framework) -> str:
        """Return the version of torch in a framework's environment; empty where none is known."""
        if framework.name == "vllm":
            row = self.table.vllm.get(framework.version)
            return row.torch if row else ""
        return framework.version if framework.name == "pytorch" else ""


def branch_of(driver: str) -> str:
    """Return a driver's branch: its first number."""
    return driver.split(".", maxsplit=1)[0]


def refusal(rule: str, text: str) -> Finding:
    """Build what cannot work."""
    return Finding(level="refusal", rule=rule, text=text)


def warning(rule: str, text: str) -> Finding:
    """Build what is not known, or works with a limit."""
    return Finding(level="warning", rule=rule, text=text)


def covers(built: tuple[str, ...], sm: str) -> bool:
    """Tell whether code for some architectures runs on one: same major, minor not above.

    Source: CUDA C++ Programming Guide, "Binary Compatibility".
    """
    return any(one[:-1] == sm[:-1] and one[-1] <= sm[-1] for one in built)
