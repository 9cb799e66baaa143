"""Rules about torch, vLLM and TensorFlow."""

from cube.stack.choice import Choice, Finding, covers, refusal, warning
from cube.stack.driver_rules import serve
from cube.stack.profile import Framework
from cube.stack.reading import number
from cube.stack.table import Tensorflow, Torch


def frameworks_are_known(choice: Choice) -> list[Finding]:
    """The profile has every framework that is wanted."""
    has = ", ".join(choice.profile.frameworks) or "none"
    return [
        refusal("frameworks", f"the profile {choice.profile.name} has no framework {name}: {has}")
        for name in choice.frameworks
        if name not in choice.profile.frameworks
    ]


def built_for_processor(choice: Choice) -> list[Finding]:
    """A build for the processor alone is told."""
    return [
        warning("processor", f"{one.name} {one.version} is a CPU build: it uses no GPU")
        for one in choice.wanted
        if not one.cuda
    ]


def torch_works(choice: Choice) -> list[Finding]:
    """Torch of each environment has the architecture's code, a driver, NCCL and a Python."""
    found: list[Finding] = []
    for one in choice.wanted:
        version = choice.torch(one)
        if not version or not one.cuda:
            continue
        row = choice.table.torch.get(version)
        if not row:
            text = f"torch {version} of {one.name} is not in the table: unproven"
            found.append(warning("torch", text))
            continue
        found += judge_torch(choice, one, version, row)
    return found


def judge_torch(choice: Choice, one: Framework, version: str, row: Torch) -> list[Finding]:
    """Judge one environment's torch by its row."""
    name, sm, least = f"torch {version} of {one.name}", choice.model.sm, choice.architecture.nccl
    found = [*serve(choice, row.cuda, name), *python_fits(choice, name, row.python)]
    if row.cuda != one.cuda:
        text = f"{name} is built for CUDA {row.cuda}, not for {one.cuda} as the profile says"
        found.append(refusal("torch", text))
    if not covers(row.sm, sm):
        text = f"its wheel has {' '.join(row.sm)} and no code for sm_{sm}"
        found.append(refusal("torch", f"{name} cannot run on {choice.gpu}: {text}"))
    if least and number(row.nccl) < number(least):
        family = choice.model.architecture.title()
        text = f"it carries NCCL {row.nccl}, {family} needs at least {least}"
        found.append(refusal("nccl", f"{name} cannot join GPUs of {choice.gpu}: {text}"))
    return found + cudnn_fits(choice, name, row.cudnn)


def vllm_works(choice: Choice) -> list[Finding]:
    """VLLM has the architecture's code and a Python."""
    found: list[Finding] = []
    for one in choice.wanted:
        if one.name != "vllm" or not one.cuda:
            continue
        row, name = choice.table.vllm.get(one.version), f"vLLM {one.version}"
        if not row:
            found.append(warning("vllm", f"{name} is not in the table: unproven"))
            continue
        found += python_fits(choice, name, row.python)
        if row.sm and not covers(row.sm, choice.model.sm):
            text = f"its wheel has {' '.join(row.sm)} and no code for sm_{choice.model.sm}"
            found.append(refusal("vllm", f"{name} cannot run on {choice.gpu}: {text}"))
    return found


def torch_is_shared(choice: Choice) -> list[Finding]:
    """One torch on the disk serves both environments."""
    versions = {one.name: choice.torch(one) for one in choice.wanted if choice.torch(one)}
    if len(set(versions.values())) <= 1:
        return []
    told = ", ".join(f"{version} in {name}" for name, version in versions.items())
    return [warning("shared", f"torch is on the disk more than once: {told}")]


def tensorflow_works(choice: Choice) -> list[Finding]:
    """TensorFlow has a driver and a Python; that it lacks the architecture's code is told."""
    found: list[Finding] = []
    for one in choice.wanted:
        if one.name != "tensorflow" or not one.cuda:
            continue
        row, name = choice.table.tensorflow.get(one.version), f"TensorFlow {one.version}"
        if not row:
            text = f"{name} is not in the table: unproven"
            found.append(warning("tensorflow", text))
            continue
        found += serve(choice, one.cuda, name) + python_fits(choice, name, row.python)
        found += cudnn_fits(choice, name, row.cudnn)
        if number(row.cuda)[0] != number(one.cuda)[0]:
            text = f"{name} takes CUDA {row.cuda}, not {one.cuda} as the profile says"
            found.append(refusal("tensorflow", text))
        found += code_fits(choice, name, row)
    return found


def code_fits(choice: Choice, name: str, row: Tensorflow) -> list[Finding]:
    """Tell where TensorFlow has no machine code: it falls back to the processor, with a word."""
    sm, native = choice.model.sm, choice.table.cuda.get(row.cuda)
    if covers(row.sm, sm):
        return []
    if row.ptx and covers((row.ptx,), sm) and native:
        if number(choice.driver) >= number(native.driver):
            text = f"{name} has only PTX for sm_{sm}: the driver compiles it at first use"
            return [warning("tensorflow", text)]
        text = f"{name} has only PTX of CUDA {row.cuda} for sm_{sm}, which driver {choice.driver}"
        return [warning("tensorflow", f"{text} does not compile: it uses no {choice.gpu}")]
    return [warning("tensorflow", f"{name} has no code for sm_{sm}: it uses no {choice.gpu}")]


def python_fits(choice: Choice, name: str, pythons: tuple[str, str]) -> list[Finding]:
    """The system's Python is one that there are wheels for."""
    first, last = pythons
    if number(first) <= number(choice.system.python) <= number(last):
        return []
    text = f"it has wheels for {first} to {last}, {choice.os} has {choice.system.python}"
    return [refusal("python", f"{name} does not install: {text}")]


def cudnn_fits(choice: Choice, name: str, cudnn: str) -> list[Finding]:
    """The major version of cuDNN is the profile's."""
    if number(cudnn)[0] == number(choice.profile.cudnn)[0]:
        return []
    return [
        refusal("cudnn", f"{name} takes cuDNN {cudnn}, the profile says {choice.profile.cudnn}")
    ]


RULES = (
    frameworks_are_known, built_for_processor, torch_works, vllm_works, torch_is_shared,
    tensorflow_works,
)  # fmt: skip
