"""`pytest checks/`: which machines are judged, which checks apply, and what counts as a pass.

``--hosts`` names machines of cube.toml, machines of the pipeline that are up, or
``ssh://user@host:port``; without it every known machine is judged. ``--root`` judges a mounted
image instead. docs/validate.md says it at length.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest
from testinfra.backend.base import CommandResult
from testinfra.host import Host

from checks import session as ssh
from checks import shell
from checks.inventory import known_targets
from checks.platform import LACKS, Nature
from checks.targets import TargetError, asks_for_names, select
from checks.titles import stable_id, title
from cube.config import GPU_LAYERS, LAYER_ROLES, Spec, load
from cube.machines.address import Address
from cube.runtime.errors import CubeError

HERE = Path(__file__).parent
#: Folders that are judged only when they are named on the command line, or by ``-m``.
ON_REQUEST = ("clone", "stage4")
#: Seconds for one check; the slowest ones start a container on a guest without KVM.
CHECK_S = 180

SPEC = pytest.StashKey[Spec]()
MACHINES = pytest.StashKey[dict[str, Nature]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cube")
    group.addoption(
        "--root",
        action="append",
        type=Path,
        default=[],
        metavar="PATH",
        help="judge the image mounted at PATH, offline; may be repeated",
    )
    group.addoption(
        "--spec",
        type=Path,
        default=HERE.parent / "cube.toml",
        metavar="FILE",
        help="the specification that the machine is judged by (default: cube.toml)",
    )
    group.addoption("--quick", action="store_true", help="stage 4: the short form of each suite")


def pytest_configure(config: pytest.Config) -> None:
    shell.use()
    for number in range(1, 6):
        config.addinivalue_line("markers", f"layer{number}: a statement of layer {number}")
    for line in (
        "stage4: validation of the whole machine",
        "hygiene: the sealed image, offline; needs --root",
        "clone: a booted copy of the sealed image",
        "needs(what): deferred where the machine lacks it: kernel, hardware, gpu, limits",
    ):
        config.addinivalue_line("markers", line)


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    config.pluginmanager.register(Tally(), "cube-tally")
    try:
        config.stash[SPEC] = load(config.getoption("spec"))
        config.stash[MACHINES] = {}
        if config.getoption("root"):
            _check_roots(config.getoption("root"))
        else:
            _choose_hosts(config)
    except CubeError as error:
        raise pytest.UsageError(*filter(None, (error.message, error.details))) from error
    except TargetError as error:
        raise pytest.UsageError(str(error)) from error


def _check_roots(roots: Sequence[Path]) -> None:
    for root in roots:
        if not (root / "etc/os-release").is_file() and not (root / "usr/lib/os-release").is_file():
            raise TargetError(f"--root={root}: no system there: name the mounted root of an image")


def _choose_hosts(config: pytest.Config) -> None:
    """Turn ``--hosts`` into what testinfra reads, and make sure that each lets us in."""
    if all(_is_below(Path(arg.split("::")[0]), HERE / "hygiene") for arg in config.args):
        raise TargetError("the hygiene checks judge a mounted image: add --root=PATH")
    asked = config.getoption("hosts") or ""
    known = known_targets(config.stash[SPEC]) if asks_for_names(asked) else {}
    chosen = select(asked, known)
    targets = [target for target in chosen if isinstance(target, Address)]
    folder = ssh.open_folder(targets)
    config.add_cleanup(lambda: ssh.close_folder(folder, targets))
    if not config.option.collectonly:
        for target in targets:
            ssh.check_login(target)
    config.option.hosts = ",".join(
        ssh.host_spec(one) if isinstance(one, Address) else one for one in chosen
    )


def _is_below(path: Path, folder: Path) -> bool:
    return path.absolute().is_relative_to(folder)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what does not fit: hygiene without an image, the rest with one."""
    place = collection_path.relative_to(HERE).parts[:1] if _is_below(collection_path, HERE) else ()
    if not place or not (HERE / place[0]).is_dir():
        return None
    if (place[0] == "hygiene") != bool(config.getoption("root")):
        return True
    named = any(_is_below(Path(arg.split("::")[0]), HERE / place[0]) for arg in config.args)
    named = named or place[0] in config.option.markexpr.replace(f"not {place[0]}", "").split()
    return True if place[0] in ON_REQUEST and not named else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Describe each check, and drop those of roles that the specification leaves out."""
    ours = [item for item in items if _is_below(item.path, HERE)]
    for item in ours:
        _describe(item)
    dropped = [item for item in ours if not _is_applied(item, config)]
    items[:] = [item for item in items if item not in dropped]
    if dropped:
        config.hook.pytest_deselected(items=dropped)


def _describe(item: pytest.Item) -> None:
    """Mark a check by its folder, limit its time, and note for the report what it says."""
    assert isinstance(item, pytest.Function)
    folder = item.path.relative_to(HERE).parts[0]
    item.add_marker(folder)
    if not item.get_closest_marker("timeout"):
        item.add_marker(pytest.mark.timeout(CHECK_S))
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    path = str(item.path.relative_to(HERE.parent))
    item.user_properties += [
        ("title", title(item.originalname, parameters)),
        ("id", stable_id(path, item.originalname, parameters)),
        ("group", folder),
    ]


def _is_applied(item: pytest.Item, config: pytest.Config) -> bool:
    """Tell whether a machine should have the role that a file of checks is about.

    ``layer1/test_security_ssh.py`` is about the role ``security`` of layer 1.
    """
    folder = item.path.relative_to(HERE).parts[0]
    if not folder.startswith("layer"):
        return True
    number, spec = int(folder.removeprefix("layer")), config.stash[SPEC]
    role = _role(item.path, number)
    if number not in spec.layers.enabled or role not in spec.layers.roles(number):
        return False
    return number not in GPU_LAYERS or _needs_gpu_layers(item, config, number)


def _needs_gpu_layers(item: pytest.Item, config: pytest.Config, number: int) -> bool:
    """Tell whether a layer that only a machine with GPUs has should be on this one.

    With gpu.mode = "auto", one that carries a GPU should, and one that says that it has it.
    """
    mode, host = config.stash[SPEC].gpu.mode, _host(item)
    if mode == "skip" or not host or config.option.collectonly:
        return mode != "skip"
    nature = _nature(config, host)
    return mode == "assume" or nature.has["gpu"] or number in nature.layers


def _role(path: Path, layer: int) -> str:
    """Return the role that a file of checks is about.

    Raises:
        UsageError: its name begins with no role of its layer, so it would never be run.
    """
    words = path.stem.removeprefix("test_")
    for role in LAYER_ROLES[layer]:
        if words == role or words.startswith(f"{role}_"):
            return role
    known = ", ".join(f"test_{role}_..." for role in LAYER_ROLES[layer])
    raise pytest.UsageError(f"{path}: is about no role of layer {layer}; name it {known}")


def pytest_exception_interact(node: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Stop when the machine is gone: every further check would only wait for it."""
    error = call.excinfo.value if call.excinfo else None
    result = error.args[0] if isinstance(error, RuntimeError) and error.args else None
    # 255 is ssh's own failure. Source: ssh(1), EXIT STATUS
    if isinstance(result, CommandResult) and result.rc == 255:
        node.session.shouldfail = f"the connection is lost: {result.stderr.strip()}"


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Name everything that should not be there, on the line that reports quote."""
    if op != "==" or right not in ([], set()) or not isinstance(left, list | set):
        return None
    names = sorted(map(str, left))
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return [f"found {', '.join(names[:20])}{more}"]


class Tally:
    """Makes a session in which nothing was judged a failure."""

    def __init__(self) -> None:
        self.judged = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what was judged."""
        self.judged += report.failed or (report.when == "call" and report.passed)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn "all deferred" into the exit code of "no tests ran"."""
        if session.exitstatus == 0 and not self.judged and not session.config.option.collectonly:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note on what evidence a check is judged; defer what the machine cannot show."""
    host = _host(item)
    if not host:
        item.user_properties.append(("evidence", "image"))
        return
    nature = _nature(item.config, host)
    item.user_properties.append(("evidence", nature.evidence))
    for marker in item.iter_markers("needs"):
        if not nature.has[marker.args[0]]:
            pytest.skip(f"deferred: {LACKS[marker.args[0]]}")


def _host(item: pytest.Item) -> Host | None:
    """Return the machine that a check judges; None for an image."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return parameters.get("_testinfra_host")


def _nature(config: pytest.Config, host: Host) -> Nature:
    machines = config.stash[MACHINES]
    key = host.backend.get_pytest_id()
    if key not in machines:
        machines[key] = Nature(host)
    return machines[key]


@pytest.fixture(scope="session")
def spec(request: pytest.FixtureRequest) -> Spec:
    """What the user asked for, in cube.toml."""
    return request.config.stash[SPEC]
