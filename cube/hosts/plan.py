"""What an application of layers would change on a host, and what it must not change."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial

from cube.config import Spec
from cube.config.model import Harm
from cube.hosts import removals, survey
from cube.hosts.apply import Side, Wanted, choose_layers
from cube.hosts.dry_run import Prediction, predict
from cube.hosts.survey import DANGERS, Survey
from cube.hosts.target import Box
from cube.runtime import log
from cube.runtime.errors import PlanError
from cube.runtime.units import counted

#: Names that a line shows at most.
SHOWN = 6
#: Layers with roles that may restart Docker, and those that replace the driver.
DOCKER_LAYERS, DRIVER_LAYERS = frozenset({1, 3}), frozenset({2})
DOCKER_WORDS = ("docker", "containerd")
#: apt says of its sources what it has lists of. Source: apt 2.6.1, apt-get indextargets.
NO_LISTS = "no package lists are there, so none is known (sudo apt-get update)"

Predict = Callable[[int], Prediction]
Gone = Callable[[], Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why layers are not applied.

    Args:
        reason: what would happen, with its value.
        remedy: what the owner of the host can do first.
        allow: the word of ``[apply] allow`` that allows it; None when nothing does.
    """

    reason: str
    remedy: str
    allow: Harm | None = None

    @property
    def line(self) -> str:
        """Say it to a person."""
        option = f", or --allow {self.allow}" if self.allow else ""
        return f"{self.reason} ({self.remedy}{option})"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is on a host, what each layer would change, and what is refused."""

    survey: Survey
    layers: tuple[Prediction, ...]
    refusals: tuple[Refusal, ...]

    def text(self, name: str) -> str:
        """Say it to a person."""
        lines = [
            f"{name}: {' '.join(self.survey.of('system'))}",
            *(f"  found    {line}" for line in found(self.survey)),
            *(f"  changes  {line}" for one in self.layers for line in changes(one)),
            *(f"  REFUSED  {one.line}" for one in self.refusals),
        ]
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """Return it for a program."""
        return {
            "found": {name: list(lines) for name, lines in self.survey.answers.items()},
            "layers": [asdict(one) for one in self.layers],
            "refused": [asdict(one) for one in self.refusals],
        }


def make(spec: Spec, box: Box, named: Sequence[int]) -> Plan:
    """Look at a host, and ask every operation what it would change.

    Args:
        spec: what the layers are made from, and what is allowed.
        box: that lets us in.
        named: layers; none means every layer that cube.toml enables.

    Raises:
        SpecError: a layer is not enabled.
        MachineError: the host does not answer.
        CommandError: it does not answer in time.
        ProvisionError: the comparison failed.
    """
    layers = choose_layers(spec, named)
    seen = survey.ask(box)
    predictions: list[Prediction] = []
    for layer in layers:
        with log.step(f"Asking layer {layer} on {box.name} what it would change", layer=layer):
            predictions.append(predict(layer, box, spec=spec, building=box.building))
    known = {one.layer: one for one in predictions}
    gone = partial(removals.ask, box, predictions)
    refused = refusals(spec, box, layers, seen, known.__getitem__, gone=gone)
    return Plan(
        survey=seen,
        layers=tuple(predictions),
        refusals=tuple(one for one in refused if one.allow not in spec.apply.allow),
    )


def guard(spec: Spec, box: Box, wanted: Wanted, side: Side | None = None) -> None:
    """Refuse layers that would harm what somebody has on a host, before anything is changed.

    Operations are asked only where containers or jobs run that may end, and of layers that the
    host does not claim yet: these install most. A machine of the pipeline has no owner but us.

    Raises:
        SpecError: a layer is not enabled.
        PlanError: the layers are refused.
    """
    if box.building:
        return
    layers = choose_layers(spec, wanted.layers)
    pool = side.pool if side else None

    @cache
    def ask(layer: int) -> Prediction:
        return predict(layer, box, spec=spec, building=box.building, pool=pool)

    def gone() -> Sequence[str]:
        return removals.ask(box, [ask(layer) for layer in layers if layer not in seen.claimed])

    seen = survey.ask(box, DANGERS)
    found = refusals(spec, box, layers, seen, ask, gone=gone)
    refuse(box, [one for one in found if one.allow not in spec.apply.allow])


def refuse(box: Box, found: Sequence[Refusal]) -> None:
    """Raise an error if anything is refused.

    Raises:
        PlanError: with all reasons.
    """
    if not found:
        return
    several = f"; and {len(found) - 1} more" if len(found) > 1 else ""
    raise PlanError(
        f"{box.name}: nothing was changed: {found[0].reason}{several}",
        hint="; ".join(dict.fromkeys(one.remedy for one in found))
        + "".join(f", or --allow {one.allow}" for one in found if one.allow),
        details="\n".join(one.line for one in found) if several else "",
    )


def refusals(
    spec: Spec,
    box: Box,
    layers: Sequence[int],
    seen: Survey,
    ask: Predict,
    *,
    gone: Gone = tuple,
) -> Iterator[Refusal]:
    """Yield why layers must not be applied.

    Args:
        spec: names the roles of each layer.
        box: its login counts.
        layers: that are wanted.
        seen: answers to `DANGERS` at least.
        ask: says what a layer would change; called only where that decides.
        gone: names packages that apt would remove; called last, and only where it may not.
    """
    roles = {role for layer in layers for role in spec.layers.roles(layer)}
    if names := seen.of("unfinished"):
        yield Refusal(
            reason=f"packages are half installed: {shortened(names)}",
            remedy="on the host: sudo dpkg --configure -a && sudo apt-get install --fix-broken",
        )
    if "security" in roles and box.endpoint.user == "root":
        yield Refusal(
            reason="the login is root's, which layer 1 closes",
            remedy="name an account with sudo and a key as user of the host",
            allow="close-root",
        )
    if "security" in roles and seen.firewalld:
        yield Refusal(
            reason="firewalld is running, and layer 1 turns on ufw beside it",
            remedy="sudo systemctl disable --now firewalld, or leave role security out",
            allow="second-firewall",
        )
    if (names := seen.threatened_containers) and any_changes(layers, DOCKER_LAYERS, ask, docker):
        yield Refusal(
            reason=f"Docker would restart, which ends {counted(len(names), 'container')}:"
            f" {shortened(names)}",
            remedy="stop them, or set live-restore to true in /etc/docker/daemon.json",
            allow="stop-containers",
        )
    if (names := seen.of("jobs")) and any_changes(layers, DRIVER_LAYERS, ask, bool):
        yield Refusal(
            reason=f"the driver would change while jobs use the GPUs: {shortened(names)}",
            remedy="wait for them, or end them",
            allow="stop-jobs",
        )
    if "remove-packages" not in spec.apply.allow and (names := tuple(gone())):
        yield Refusal(
            reason=f"apt would remove {counted(len(names), 'package')} that nobody named:"
            f" {shortened(names)}",
            remedy="remove them yourself if they may go",
            allow="remove-packages",
        )


def any_changes(
    layers: Sequence[int],
    some: Collection[int],
    ask: Predict,
    counts: Callable[[Prediction], bool],
) -> bool:
    """Tell whether one of some layers would change what counts."""
    return any(counts(only) for layer in layers if layer in some and (only := changing(ask(layer))))


def changing(one: Prediction) -> Prediction | None:
    """Return a prediction that changes something."""
    return one if one.differences else None


def docker(one: Prediction) -> bool:
    """Tell whether a layer changes Docker's or containerd's files or packages."""
    commands = " ".join(command for each in one.differences for command in each.commands)
    return any(word in commands for word in DOCKER_WORDS)


def found(seen: Survey) -> Iterator[str]:
    """Yield a line for each thing on a host that layers keep, use or change."""
    sources = seen.of("sources")
    yield f"apt sources: {shortened(sources)}" if sources else f"apt sources: {NO_LISTS}"
    if names := seen.of("engines"):
        yield f"container engine: {shortened(names)}"
    if names := seen.of("containers"):
        fate = "a restart of Docker ends them" if seen.threatened_containers else "kept"
        yield f"{counted(len(names), 'container')} running ({fate}): {shortened(names)}"
    yield f"firewall: {firewall(seen)}"
    if ports := seen.sshd("port"):
        yield f"sshd: port {', '.join(ports)}; {passwords(seen)}"
    if drivers := seen.of("drivers"):
        yield f"NVIDIA driver: {shortened(drivers)}"
    if module := seen.of("module"):
        yield f"NVIDIA module in use: {module[0]}"
    if jobs := seen.of("jobs"):
        yield f"{counted(len(jobs), 'GPU job')}: {shortened(jobs)}"
    if names := seen.of("held"):
        yield f"held packages: {shortened(names)}"


def firewall(seen: Survey) -> str:
    """Say which firewall a host has."""
    if seen.firewalld:
        return "firewalld"
    if seen.ufw_rules is not None:
        return f"ufw, {counted(seen.ufw_rules, 'rule')}"
    tables = len(seen.of("tables"))
    return f"no ufw; nftables has {counted(tables, 'table')}" if tables else "none"


def passwords(seen: Survey) -> str:
    """Say what lets in besides keys."""
    now = [
        word
        for word, setting in (
            ("passwords", "passwordauthentication"),
            ("root", "permitrootlogin"),
        )
        if seen.sshd(setting)[:1] not in (("no",), ())
    ]
    return f"lets in {' and '.join(now)}, which layer 1 ends" if now else "keys only"


def changes(one: Prediction) -> Iterator[str]:
    """Yield what a layer would change, role by role."""
    if one.skipped:
        yield f"layer {one.layer}: skipped: {one.skipped}"
        return
    yield f"layer {one.layer}: {len(one.differences)} of {one.operations} operations"
    for each in one.differences:
        yield f"  {each.role}: {each.operation}"


def shortened(names: Sequence[str]) -> str:
    """List some names, and count the others."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
