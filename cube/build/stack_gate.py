"""Whether the GPU stack that cube.toml describes can work: rules, locks and the disk, offline."""

from cube.config import Spec, may_apply
from cube.config.model import GPU_LAYERS
from cube.disks import disk_room
from cube.runtime import hardware, log
from cube.stack import lockfile, profile, rules, table
from cube.stack.choice import Choice


def choice_of(spec: Spec) -> Choice:
    """Return what cube.toml chose, for the rules."""
    return Choice(
        gpu=spec.gpu.model,
        profile=profile.load(spec.stack.profile),
        os=spec.image.os,
        source=spec.stack.source,
        table=table.load(),
        frameworks=spec.stack.frameworks if 4 in spec.layers.enabled else (),  # noqa: PLR2004
    )


def will_apply(spec: Spec) -> bool:
    """Tell whether a build on this machine applies them."""
    return may_apply(spec) and (spec.gpu.mode == "assume" or bool(hardware.nvidia_gpus()))


def decided(spec: Spec) -> str:
    """Say what was decided about layers 2-4, and why."""
    wanted = " ".join(str(one) for one in spec.layers.enabled if one in GPU_LAYERS)
    if not wanted:
        return "no: none of the layers 2-4 is enabled"
    if spec.gpu.mode == "skip":
        return 'no: gpu.mode = "skip"'
    if spec.gpu.mode == "assume":
        return f'layers {wanted}: gpu.mode = "assume"'
    if found := hardware.nvidia_gpus():
        return f"layers {wanted}: {len(found)} NVIDIA GPUs here ({' '.join(sorted(set(found)))})"
    return 'not in a build here: gpu.mode = "auto", and this machine has no NVIDIA GPU'


def examine(spec: Spec) -> list[str]:
    """Return what keeps the stack from working, all of it; nothing is downloaded.

    A disk that is too small is only a hint where the layers are not applied.
    """
    base = [why] if (why := lacking_base(spec)) else []
    if not may_apply(spec):
        return base
    choice = choice_of(spec)
    refused = rules.refusals(choice)
    found = [one.text for one in refused]
    if refused and (advice := rules.nearest(choice)):
        found.append(f"the nearest set that works: {advice}")
    for framework in choice.wanted:
        found += lockfile.check(choice.profile, framework)
    if short := lacking_disk(spec, choice):
        if will_apply(spec):
            return [*found, short]
        log.info(f"for a machine with GPUs: {short}")
    return [*found, *base]


def lacking_disk(spec: Spec, choice: Choice) -> str:
    """Say what the disk of the image lacks for the stack; empty where it is large enough."""
    layers = set(spec.layers.enabled)
    frameworks = {one.name: one.disk_mib for one in choice.wanted}
    driver = disk_room.DRIVER_MIB if 2 in layers else 0  # noqa: PLR2004
    room = disk_room.room(spec, {"driver and CUDA": driver, **frameworks})
    return "" if room.enough else f"{room.said('the stack needs')}, or fewer frameworks"


def lacking_base(spec: Spec) -> str:
    """Say what the disk of the image lacks for system and swap; empty where it is large enough."""
    room = disk_room.room(spec, {})
    told = "system and swap need" if spec.image.swap else "the system needs"
    return "" if room.enough else f"{room.said(told)}{', or less swap' * bool(spec.image.swap)}"
