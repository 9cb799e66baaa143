"""Rules about the driver, CUDA and where both come from."""

from cube.stack.choice import Choice, Finding, branch_of, refusal, warning
from cube.stack.reading import number

#: The first branch with open kernel modules. Source: open-gpu-kernel-modules, tag 515.43.04.
FIRST_OPEN = "515.43.04"


def driver_knows_gpu(choice: Choice) -> list[Finding]:
    """The driver lists the model's PCI id, and has not yet dropped its architecture."""
    least = choice.model.driver or choice.architecture.driver
    last = choice.architecture.last_branch
    family, ids = choice.model.architecture.title(), " ".join(choice.model.pci)
    if number(choice.driver) < number(least):
        kinds = choice.architecture.modules
        only = f", and only {' or '.join(kinds)} kernel modules drive {family}"
        if choice.profile.modules in kinds:
            only = ""
        text = f"the PCI id 10de:{ids} is absent below {least}{only}"
        return [refusal("driver", f"driver {choice.driver} cannot drive {choice.gpu}: {text}")]
    if last and number(branch_of(choice.driver)) > number(last):
        text = f"R{last} is the last branch for {family}"
        return [refusal("driver", f"driver {choice.driver} cannot drive {choice.gpu}: {text}")]
    return []


def modules_drive_gpu(choice: Choice) -> list[Finding]:
    """The flavour of kernel modules exists, and drives the architecture."""
    flavour, known = choice.profile.modules, choice.architecture.modules
    family = choice.model.architecture.title()
    if flavour not in known and driver_knows_gpu(choice):
        return []  # that sentence says both
    if flavour not in known:
        text = f"only {' or '.join(known)} ones drive {family}"
        return [refusal("modules", f"{flavour} kernel modules cannot drive {choice.gpu}: {text}")]
    if flavour == "open" and number(choice.driver) < number(FIRST_OPEN):
        text = f"driver {choice.driver} has no open kernel modules: the first are {FIRST_OPEN}'s"
        return [refusal("modules", text)]
    return []


def cuda_knows_gpu(choice: Choice) -> list[Finding]:
    """The toolkit compiles for the architecture."""
    cuda, known = choice.profile.cuda, choice.architecture
    if number(cuda) < number(known.cuda):
        text = f"sm_{choice.model.sm} needs at least {known.cuda}"
        return [refusal("cuda", f"CUDA {cuda} cannot compile for {choice.gpu}: {text}")]
    if known.last_cuda and number(cuda) > number(known.last_cuda):
        text = f"{known.last_cuda} was the last with sm_{choice.model.sm}"
        return [refusal("cuda", f"CUDA {cuda} cannot compile for {choice.gpu}: {text}")]
    return []


def driver_serves_cuda(choice: Choice) -> list[Finding]:
    """The driver serves the toolkit."""
    return serve(choice, choice.profile.cuda, "the toolkit")


def serve(choice: Choice, cuda: str, user: str) -> list[Finding]:
    """Compare the driver with what a CUDA release needs.

    Source: CUDA Compatibility guide, "Minor Version Compatibility": below the native driver,
    PTX of a newer CUDA is not compiled.
    """
    row = choice.table.cuda.get(cuda)
    if not row:
        return [
            warning("cuda-driver", f"CUDA {cuda} of {user} is not in the table: driver unproven")
        ]
    if number(choice.driver) < number(row.floor):
        text = f"CUDA {cuda} of {user} needs at least {row.floor}"
        return [refusal("cuda-driver", f"driver {choice.driver} is too old: {text}")]
    if number(choice.driver) < number(row.driver):
        text = (
            f"CUDA {cuda} of {user} runs on driver {choice.driver} by minor-version compatibility"
            f" (native: {row.driver}): its PTX is not compiled"
        )
        return [warning("cuda-driver", text)]
    return []


def source_has_it(choice: Choice) -> list[Finding]:
    """The chosen archive has the branch of the driver and the version of CUDA."""
    if choice.source == "nvidia":
        return repository_has_it(choice)
    found, wanted, system = [], choice.profile, choice.system
    if wanted.branch not in map(branch_of, system.drivers):
        known = ", ".join(system.drivers) or "none"
        text = f"{choice.os} itself has no driver of branch {wanted.branch}: it has {known}"
        found.append(refusal("source", text))
    elif number(choice.driver) < number(wanted.driver):
        text = f"{choice.os} itself has driver {choice.driver}, the profile needs {wanted.driver}"
        found.append(refusal("source", text))
    if number(wanted.cuda) != number(system.cuda):
        text = f"{choice.os} itself has CUDA {system.cuda}, not {wanted.cuda} of the profile"
        found.append(refusal("source", text))
    return found


def repository_has_it(choice: Choice) -> list[Finding]:
    """NVIDIA's repository for the system goes back far enough."""
    found, wanted, system = [], choice.profile, choice.system
    name = f"NVIDIA's repository {system.repository}"
    if number(wanted.cuda) < number(system.repository_cuda):
        text = f"{name} begins with CUDA {system.repository_cuda}: it has no {wanted.cuda}"
        found.append(refusal("source", text))
    if number(wanted.branch) < number(branch_of(system.repository_driver)):
        first = branch_of(system.repository_driver)
        text = f"{name} begins with driver branch {first}: it has no {wanted.branch}"
        found.append(refusal("source", text))
    return found


def branch_agrees(choice: Choice) -> list[Finding]:
    """The profile's driver is of its branch."""
    wanted = choice.profile
    if branch_of(wanted.driver) == wanted.branch:
        return []
    text = f"the profile's driver {wanted.driver} is not of its branch {wanted.branch}"
    return [refusal("branch", text)]


RULES = (
    branch_agrees, driver_knows_gpu, modules_drive_gpu, cuda_knows_gpu, driver_serves_cuda,
    source_has_it,
)  # fmt: skip
