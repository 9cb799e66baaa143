"""Whether the GPU stack that cube.toml describes can work: rules, locks and the disk, offline."""

from cube import hardware, log
from cube.spec import Spec
from cube.spec.model import GPU_LAYERS
from cube.stack import lockfile, profile, rules, table
from cube.stack.choice import Choice

#: What the image takes without frameworks, in MiB: the system with layers 1, 3 and 5 (the chain
#: takes 2.4 GB, docs/figures.md), and the driver with the CUDA toolkit (Debian 13's own: 5,341,
#: the sum of Installed-Size over what they depend on; the rest is for the packages themselves).
#: NVIDIA's own cuda-toolkit-13-0 was not measured: it is taken to be of that order.
SYSTEM_MIB = 3 * 1024
DRIVER_MIB = 7 * 1024
#: Part of a disk that is not for files: ext4's reserve and tables, boot and EFI. Source: mke2fs(8)
#: keeps 5 % for root.
OVERHEAD = 1.08
GIB_MIB = 1024


def choice_of(spec: Spec) -> Choice:
    """Return what cube.toml chose, for the rules."""
    return Choice(
        gpu=spec.gpu.model, profile=profile.load(spec.stack.profile), os=spec.image.os,
        source=spec.stack.source, table=table.load(),
        frameworks=spec.stack.frameworks if 4 in spec.layers.enabled else (),  # noqa: PLR2004
    )  # fmt: skip


def may_apply(spec: Spec) -> bool:
    """Tell whether layers 2-4 could be applied at all."""
    return spec.gpu.mode != "skip" and bool(set(spec.layers.enabled) & set(GPU_LAYERS))


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
    if not may_apply(spec):
        return []
    choice = choice_of(spec)
    refused = rules.refusals(choice)
    found = [one.text for one in refused]
    if refused and (advice := rules.nearest(choice)):
        found.append(f"the nearest set that works: {advice}")
    for framework in choice.wanted:
        found += lockfile.check(choice.profile, framework)
    if short := lacking_disk(spec, choice):
        if will_apply(spec):
            found.append(short)
        else:
            log.info(f"for a machine with GPUs: {short}")
    return found


def lacking_disk(spec: Spec, choice: Choice) -> str:
    """Say what the disk of the image lacks; empty where it is large enough."""
    layers = set(spec.layers.enabled)
    parts = {
        "system": SYSTEM_MIB,
        "driver and CUDA": DRIVER_MIB if 2 in layers else 0,  # noqa: PLR2004
        **{one.name: one.disk_mib for one in choice.wanted},
    }
    needed, has = int(sum(parts.values()) * OVERHEAD), spec.image.disk_size
    if has >= needed:
        return ""
    told = ", ".join(f"{name} {size / GIB_MIB:.1f}" for name, size in parts.items() if size)
    least = -(-needed // GIB_MIB)
    return (
        f"image.disk_size is {has / GIB_MIB:.0f} GiB, the stack needs {least} GiB"
        f" ({told}): write at least {least} GiB, or fewer frameworks"
    )
