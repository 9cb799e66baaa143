"""Which packages layers would have apt remove from a host: apt's own simulation, asked there."""

import re
from collections.abc import Sequence

from cube.hosts import remote
from cube.hosts.dry_run import Prediction
from cube.hosts.target import Box

#: The simulation within a call of apt. Source: `deploy.operations.apt.get`.
SIMULATION = re.compile(r"gone=\$\((.*?)\); \[ -z")
#: Seconds for all simulations; one takes a second or two.
LIMIT_S = 300


def ask(box: Box, predictions: Sequence[Prediction]) -> tuple[str, ...]:
    """Return the packages that would go, as far as the host's package lists tell.

    A source that a layer will add is not among them yet: who installs from it asks again then.

    Args:
        box: that lets us in.
        predictions: what layers would do on it.

    Raises:
        MachineError: the host does not answer.
        CommandError: it does not answer in time.
    """
    scripts = simulations(predictions)
    if not scripts:
        return ()
    told = remote.execute(box, "; ".join([*scripts, "true"]), timeout_s=LIMIT_S).stdout
    return tuple(dict.fromkeys(told.split()))


def simulations(predictions: Sequence[Prediction]) -> list[str]:
    """Return the scripts that print the names of packages that calls of apt would remove."""
    return [
        found[1]
        for one in predictions
        for each in one.differences
        for command in each.commands
        for found in SIMULATION.finditer(command)
    ]
