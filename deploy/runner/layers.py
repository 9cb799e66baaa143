"""Apply one layer: decide whether it makes sense on this host, then run its roles in order."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType

from pyinfra import host as current_host
from pyinfra import logger, state
from pyinfra.api.exceptions import DeployError
from pyinfra.api.host import Host

from deploy.facts import pci
from deploy.operations import apt, apt_beside
from deploy.runner import events, record
from deploy.runner.role import Role

#: Layers that make sense only with a GPU.
GPU_LAYERS = (2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether a layer applies to a host, and why; without a word where it always does."""

    applies: bool
    reason: str = ""


def apply(layer: int, *, run: Sequence[int] = ()) -> None:
    """Add the operations of a layer's roles for the current host, or say why there are none.

    Args:
        layer: 1 to 5; its roles are `host.data.layerN_roles`.
        run: the layers that are applied one after the other; what later ones load then begins
            early. Without them, `host.data.run`, if it is there.

    Raises:
        DeployError: the layer is wanted, but this release has no roles for it.
    """
    host = current_host
    if host in state.failed_hosts:
        return
    try:
        prepare(layer, host, run)
    except Exception as error:  # whatever it is: it must not end the run of the other hosts
        if not events.give_up(state, host, error):
            raise


def prepare(layer: int, host: Host, run: Sequence[int]) -> None:
    """Add the operations of a layer for a host, or say why there are none; see `apply`."""
    recorder = events.recorder(state, host)
    decision = decide(layer, host)
    if not decision.applies:
        logger.info(f"{host.print_prefix}layer {layer} skipped: {decision.reason}")
        events.emit("skip", host=host.name, layer=layer, reason=decision.reason)
        if not host.op_hash_order:
            events.exit_host(host.name)
        return
    if decision.reason:
        logger.info(f"{host.print_prefix}layer {layer} applies: {decision.reason}")
    load_ahead(later(layer, run or host.data.get("run", ())), host, recorder)
    plan: list[dict[str, object]] = []
    for part, add in parts(layer, host):
        first = len(host.op_hash_order)
        add()
        plan += recorder.label(host, first, layer=layer, role=part)
    events.emit("plan", host=host.name, layer=layer, operations=plan, reason=decision.reason)
    if state.should_check_for_changes():  # a dry run ends here
        events.exit_host(host.name)


def later(layer: int, run: Sequence[int]) -> list[int]:
    """Return the layers whose loads may begin before a layer: those above the lowest but layer 1.

    Args:
        layer: that is applied now.
        run: the layers of this run.
    """
    above = sorted(number for number in run if number > 1)
    return above[1:] if above[:1] == [layer] else []


def load_ahead(wanted: Sequence[int], host: Host, recorder: events.Recorder) -> None:
    """Begin to load what roles of later layers will want, in roles that have an `ahead`.

    These operations belong to those layers; they must not fail, as nothing depends on them. What
    cannot be begun is left to its layer, which says why.
    """
    for layer in host.loop(wanted):
        if not decide(layer, host).applies:
            continue
        for role in host.loop(getattr(host.data, f"layer{layer}_roles")):
            first = len(host.op_hash_order)
            try:
                getattr(load_module(layer, role), "ahead", nothing)()
            except DeployError as error:
                logger.warning(f"{host.print_prefix}nothing is loaded ahead: {error}")
            recorder.label(host, first, layer=layer, role=role)


def nothing() -> None:
    """Begin nothing: the role has no `ahead`."""


def parts(layer: int, host: Host) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what adds the operations of a layer, part by part, with the name of each part.

    All roles come as far as their packages; one call of apt installs those; then each goes on.
    """
    functions = {role: load(layer, role) for role in getattr(host.data, f"layer{layer}_roles")}
    started = {name: one.start() for name, one in functions.items() if isinstance(one, Role)}
    for name in host.loop(started):
        yield name, started[name].before_packages
    packages = sorted({name for one in started.values() for name in one.packages})
    if packages:
        title = f"Install the packages of layer {layer}"
        install = partial(apt.install, packages=packages, initramfs_later=True)
        yield "packages", partial(install, name=title)
    for name in host.loop(functions):
        yield name, started[name].after_packages if name in started else functions[name]
    if packages:
        yield "packages", partial(apt_beside.settle, name="Wait for the packages' last steps")
    yield "record", partial(record.record_layer, layer)


def decide(layer: int, host: Host) -> Decision:
    """Decide whether a layer applies to a host.

    The PCI bus is what it was before the run, so the fact is safe to read at this point. A test
    gives another tree than /sys with ``--data sysfs=PATH``.
    """
    if layer not in GPU_LAYERS:
        return Decision(applies=True)
    if host.data.gpu_mode == "skip":
        return Decision(applies=False, reason='gpu.mode = "skip"')
    gpus = host.get_fact(pci.NvidiaGpus, sysfs=host.data.get("sysfs", "/sys"))
    if gpus:
        found = pci.described(gpus, expected=host.data.gpu_count)
        return Decision(applies=True, reason=found)
    if host.data.gpu_mode == "assume":
        built_for = f"{host.data.gpu_count} x {host.data.gpu_model}"
        reason = f'gpu.mode = "assume": built for {built_for}; what needs a GPU is deferred'
        return Decision(applies=True, reason=reason)
    reason = f"no NVIDIA GPU found on the PCI bus (gpu.mode = {host.data.gpu_mode})"
    return Decision(applies=False, reason=reason)


def load(layer: int, role: str) -> Callable[[], object]:
    """Return a role's function: `deploy.roles.ROLE.ROLE`.

    Raises:
        DeployError: there is no such role.
    """
    function: Callable[[], object] = getattr(load_module(layer, role), role)
    return function


def load_module(layer: int, role: str) -> ModuleType:
    """Return a role's module: `deploy.roles.ROLE`.

    Raises:
        DeployError: there is no such role.
    """
    name = f"deploy.roles.{role}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        advice = ' Set gpu.mode = "skip" to leave it out.' if layer in GPU_LAYERS else ""
        raise DeployError(
            f"layer {layer}: the role {role} is not part of this release.{advice}"
        ) from error
