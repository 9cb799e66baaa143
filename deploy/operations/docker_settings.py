"""Which settings of Docker's file may stand together.

`dockerd --validate` accepts what a start refuses: options of another log driver, live-restore in a
swarm, a setting that the unit gives by a flag as well. Source: moby, daemon/config/config.go,
findConfigurationConflicts; daemon/cluster/cluster.go; daemon/logger/*, ValidateLogOpt.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from deploy.facts.docker import DAEMON, Settings, Surroundings

#: Keys that are one value: the options are those of the driver.
LOG = ("log-driver", "log-opts")
LIVE = "live-restore"
#: The flag that both packages' units give.
SOCKET = "hosts"


def merge(
    current: Mapping[str, Any],
    wanted: Mapping[str, Any],
    *,
    before: Mapping[str, Any],
    around: Surroundings = Surroundings(),  # noqa: B008 (it is frozen)
) -> tuple[Settings, list[str]]:
    """Merge settings that are wanted into those that are there.

    What somebody else has set stays. What the role wrote itself at an earlier application, and
    what does not fit any more, goes.

    Args:
        current: what is there.
        wanted: what a role wants.
        before: what the same role wanted the last time.
        around: what the daemon is told and does besides.

    Returns:
        The merged settings; and one line for each wanted value that has no place.
    """
    unfit = dict(misfits(current, wanted, before, around))
    merged, told = added(
        {key: value for key, value in current.items() if not own(key, current, before, unfit)},
        {key: value for key, value in wanted.items() if key not in unfit},
        before=before,
    )
    lines = [f"{key} is left out, {why}" for key, why in unfit.items()]
    return merged, [*lines, *told]


def own(
    key: str, current: Mapping[str, Any], before: Mapping[str, Any], unfit: Collection[str]
) -> bool:
    """Tell whether a value has no place and is the role's own."""
    return key in unfit and key in before and current[key] == before[key]


def misfits(
    current: Mapping[str, Any],
    wanted: Mapping[str, Any],
    before: Mapping[str, Any],
    around: Surroundings,
) -> Iterator[tuple[str, str]]:
    """Yield the keys that must not be added, and why."""
    foreign = foreign_log(current, wanted, before, around.flags)
    for key in wanted:
        if key in around.flags:
            yield key, "docker.service sets it by a flag"
        elif key == LIVE and around.swarm:
            yield key, "a swarm does not allow it"
        elif key in LOG and foreign:
            yield key, f"somebody set {foreign}"


def foreign_log(
    current: Mapping[str, Any],
    wanted: Mapping[str, Any],
    before: Mapping[str, Any],
    flags: Collection[str],
) -> str:
    """Name what somebody else has said of logs if our options may not fit it; "" for nothing."""
    driver, options = LOG
    if driver not in wanted:
        return ""
    for key in LOG:
        if key in flags:
            return f"{key} by a flag"
    there, last = current.get(driver, wanted[driver]), before.get(driver)
    if there not in {wanted[driver], last}:
        return f"{driver} to {json.dumps(there)}"
    if driver not in current and options in current and current[options] != before.get(options):
        return f"{options} of the default driver"
    return ""


def added(
    current: Mapping[str, Any],
    wanted: Mapping[str, Any],
    *,
    before: Mapping[str, Any],
    deeper: bool = True,
) -> tuple[Settings, list[str]]:
    """Add settings key by key; those of a map, such as runtimes, are whole values by their names.

    Returns:
        All settings; and one line for each value of somebody else's that stays.
    """
    merged, kept = dict(current), list[str]()
    for key, value in wanted.items():
        old, last = current.get(key), before.get(key)
        if deeper and isinstance(value, Mapping) and isinstance(old, Mapping):
            nested = last if isinstance(last, Mapping) else {}
            merged[key], lines = added(old, value, before=nested, deeper=False)
            kept += [f"{key}.{line}" for line in lines]
        elif key not in current or (key in before and old == last):
            merged[key] = value
        elif old != value:
            is_there, is_wanted = json.dumps(old), json.dumps(value)
            kept.append(f"{key} stays {is_there}, somebody set it; {is_wanted} was wanted")
    return merged, kept


def faults(settings: Mapping[str, Any], around: Surroundings) -> list[str]:
    """Say what the daemon does not start with, whoever has set it.

    Args:
        settings: all of the file.
        around: what the daemon is told and does besides.
    """
    flags = around.flags if around.installed else frozenset({SOCKET})
    found = [
        f"{key} is set here and by a flag of docker.service: take out one of them"
        for key in sorted(settings)
        if key in flags
    ]
    if around.swarm and settings.get(LIVE):
        found.append(f"{LIVE} is true, which a swarm does not allow: take it out")
    if around.config not in {"", DAEMON}:
        found.append(
            f"docker.service reads {around.config} instead: move its settings here, and take"
            " --config-file out of the unit"
        )
    return found
