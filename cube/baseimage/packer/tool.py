"""Packer as a program: version, plugins, and one run of it with everything it says."""

import contextlib
import hashlib
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cube.baseimage.packer import events
from cube.runtime import lifetime, log, run
from cube.runtime.errors import HostError, PackerError

#: The templates, one folder an image.
TEMPLATES = Path(__file__).resolve().parents[3] / "packer"
#: From this version on builders are plugins that `packer init` fetches.
#: Source: Packer's CHANGELOG, 1.7.0.
PLUGINS_SINCE = (1, 7, 0)
#: The oldest that the templates are known to work with.
OLDEST = (1, 6, 6)
#: `packer validate` and `packer init` do next to nothing.
SHORT_S = 120

#: What Packer says of every failure, after the error itself.
REPETITION = re.compile(r"Build was halted|Build '[^']*' errored|Some builds didn't|--> ")

Version = tuple[int, int, int]


def parse_version(text: str) -> Version:
    """Return the version in the output of ``packer version``.

    Raises:
        HostError: there is none in it.
    """
    match = re.search(r"^Packer v(\d+)\.(\d+)\.(\d+)", text, re.MULTILINE)
    if not match:
        raise HostError(
            f"packer version said {text.strip()[:80]!r}, not a version",
            hint="another program is called packer (cracklib has one): install HashiCorp's",
        )
    return int(match[1]), int(match[2]), int(match[3])


def version() -> Version:
    """Ask Packer for its version.

    Raises:
        HostError: it is too old, or something else is called packer.
        CommandError: it is missing.
    """
    found = parse_version(run.run(["packer", "version"], timeout_s=30).stdout)
    if found < OLDEST:
        raise HostError(
            f"packer is {dotted(found)}, too old", hint=f"install {dotted(OLDEST)} or newer"
        )
    return found


def dotted(found: Version) -> str:
    """Return a version as people write it."""
    return ".".join(str(number) for number in found)


@dataclass
class Transcript:
    """What one run of Packer said."""

    errors: list[str] = field(default_factory=list)
    artifacts: list[Path] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)

    def hear(self, line: str) -> None:
        """Take one line of output: show what is for people, keep errors and artifacts."""
        log.debug(line)
        event = events.parse(line)
        if event is None:
            self.stray.append(line)
            return
        if problem := events.error(event):
            if problem not in self.errors:
                self.errors.append(problem)
        elif text := events.message(event):
            log.status(f"packer: {text.splitlines()[-1]}")
        if path := events.artifact_file(event):
            self.artifacts.append(Path(path))

    def complaint(self) -> str:
        """Return the errors, or else what was not of the format; without Packer's warnings."""
        telling = [text for text in self.errors if not REPETITION.match(text)]
        text = "\n".join(telling or self.errors or self.stray).strip()
        return text[max(text.find("Error"), 0) :]


@contextlib.contextmanager
def staged(template: str, work: Path, found: Version) -> Iterator[Path]:
    """Copy the templates to where this version's plugins block can be added; yield the folder.

    The folder lives as long as the block does.
    """
    target = work / "templates"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(TEMPLATES, target)
    folder = target / template
    if found >= PLUGINS_SINCE:
        plugins = folder / "plugins.pkr.hcl.in"
        plugins.rename(plugins.with_suffix(""))
    try:
        yield folder
    finally:
        shutil.rmtree(target, ignore_errors=True)


def environment(work: Path, cache: Path, scratch: Path) -> dict[str, str]:
    """Return the variables that keep Packer to our folders, and off the network.

    Args:
        work: gets the log.
        cache: gets plugins, which outlive the build.
        scratch: for temporary files.
    """
    return {
        "CHECKPOINT_DISABLE": "1",
        "PACKER_CACHE_DIR": str(scratch / "cache"),
        "PACKER_CONFIG_DIR": str(scratch / "config"),
        "PACKER_PLUGIN_PATH": str(cache / "packer-plugins"),
        "PACKER_LOG": "1",
        "PACKER_LOG_PATH": str(work / "packer.log"),
        "PACKER_NO_COLOR": "1",
        "TMPDIR": str(scratch),
    }


@contextlib.contextmanager
def scratch_folder(work: Path) -> Iterator[Path]:
    """Make a folder for temporary files, and clear what a killed run left of it.

    Its path is short, because a socket's is (108 bytes, unix(7)); its name is the work folder's.
    """
    name = hashlib.sha256(str(work).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"cube-packer-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def call(
    words: Sequence[str | Path],
    *,
    work: Path,
    cache: Path,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    on_tick: Callable[[], None] = lambda: None,
) -> Transcript:
    """Run Packer to its end; when it fails, or we do, all that it started dies with it.

    Args:
        words: what follows ``packer -machine-readable``.
        work: folder for the log.
        cache: folder for plugins.
        timeout_s: seconds after which it is ended.
        env: variables beside ours.
        on_tick: called several times a second; an exception from it ends Packer.

    Raises:
        PackerError: it failed; its own words are in the details.
        CommandError: it is missing or took too long.
    """
    transcript = Transcript()
    with scratch_folder(work) as scratch:
        code = run.stream(
            lifetime.with_descendants(["packer", "-machine-readable", *words]),
            on_line=transcript.hear,
            on_tick=on_tick,
            timeout_s=timeout_s,
            stop_with=signal.SIGINT,
            env={**environment(work, cache, scratch), **(env or {})},
        )
    if code != 0:
        raise PackerError(
            f"packer {words[0]} failed (exit code {code})", details=transcript.complaint()
        )
    return transcript


def init(
    folder: Path, *, work: Path, cache: Path, found: Version, env: Mapping[str, str] | None = None
) -> None:
    """Fetch the plugins that a staged template asks for, unless the cache has them.

    Args:
        folder: the staged template.
        work: folder for the log.
        cache: folder for plugins.
        found: this Packer's version; an old one has its builder built in.
        env: variables that lead to the network.

    Raises:
        PackerError: they cannot be had.
    """
    if found < PLUGINS_SINCE:
        return
    try:
        call(["init", folder], work=work, cache=cache, timeout_s=SHORT_S, env=env)
    except PackerError as error:
        raise PackerError(
            "packer could not get its QEMU plugin",
            hint="without network: packer plugins install --path BINARY github.com/hashicorp/qemu "
            f"(Packer 1.10 and later), with PACKER_PLUGIN_PATH={cache / 'packer-plugins'}",
            details=error.details,
        ) from error
