"""What works with what: the matrix, each rule by itself, and the nearest set that works."""

from dataclasses import replace
from itertools import product

import pytest

from cube.stack import driver_rules, framework_rules, profile, rules, table
from cube.stack.choice import Choice, SourceName, covers
from cube.stack.profile import Framework, Profile

ALL = ("pytorch", "tensorflow", "vllm")
DEBIAN, UBUNTU = "debian-13", "ubuntu-24.04"
MODELS = ("rtx-5090", "rtx-5080", "rtx-4090", "rtx-3090", "rtx-2080-ti", "h100", "a100", "v100")


def choose(
    gpu: str = "rtx-5090",
    name: str = "cube",
    os: str = DEBIAN,
    source: SourceName = "nvidia",
    frameworks: tuple[str, ...] = ALL,
    **changes: object,
) -> Choice:
    """A choice over a shipped profile, some of whose fields are changed."""
    chosen = profile.load(name).model_copy(update=changes)
    return Choice(
        gpu=gpu, profile=chosen, os=os, source=source, frameworks=frameworks, table=table.load()
    )


def with_framework(choice: Choice, name: str, **changes: object) -> Choice:
    """The same choice with another version of a framework."""
    known = choice.profile.frameworks
    changed = known[name].model_copy(update=changes)
    frameworks = {**known, name: changed}
    return replace(choice, profile=choice.profile.model_copy(update={"frameworks": frameworks}))


def refused(choice: Choice) -> list[str]:
    return [finding.text for finding in rules.refusals(choice)]


def works(gpu: str, name: str, os: str, source: str) -> bool:
    """What is known to work, told apart from the table and its rules."""
    if name == "cube":
        return source == "nvidia" and gpu != "v100"
    return source == "distribution" and os == DEBIAN and not gpu.startswith("rtx-50")


@pytest.mark.parametrize(
    ("gpu", "name", "os", "source"),
    [*product(MODELS, ["cube", "specification"], [DEBIAN, UBUNTU], ["nvidia", "distribution"])],
)
def test_matrix(gpu: str, name: str, os: str, source: SourceName) -> None:
    found = refused(choose(gpu, name, os, source))
    assert bool(found) != works(gpu, name, os, source), found


def test_a_5090_is_refused_with_driver_550_for_its_id_and_its_modules() -> None:
    found = refused(choose("rtx-5090", "specification", DEBIAN, "distribution"))
    assert found[0] == (
        "driver 550.163.01 cannot drive rtx-5090: the PCI id 10de:2b85 is absent below 570.86.16,"
        " and only open kernel modules drive Blackwell"
    )


BITES = [
    ("older driver", {"driver": "570.86.15", "branch": "570"}, "absent below 570.86.16"),
    ("closed modules", {"modules": "proprietary"}, "only open ones drive Blackwell"),
    ("older CUDA", {"cuda": "12.4"}, "CUDA 12.4 cannot compile for rtx-5090: sm_120 needs"),
    ("CUDA above the driver", {"driver": "570.86.16", "branch": "570"}, "needs at least 580"),
    ("branch", {"branch": "570"}, "driver 580.65.06 is not of its branch 570"),
    ("cuDNN", {"cudnn": "8"}, "takes cuDNN 9.20.0.48, the profile says 8"),
]


@pytest.mark.parametrize(("what", "changes", "text"), BITES, ids=[one[0] for one in BITES])
def test_a_rule_bites(what: str, changes: dict[str, object], text: str) -> None:
    assert refused(choose()) == []
    assert any(text in one for one in refused(choose(**changes)))  # type: ignore[arg-type]


FRAMEWORKS = [
    ("old torch", "pytorch", {"version": "2.6.0", "cuda": "12.4"}, "no code for sm_120"),
    ("old NCCL", "pytorch", {"version": "2.6.0", "cuda": "12.4"}, "needs at least 2.26"),
    ("cu126", "pytorch", {"version": "2.7.1", "cuda": "12.6"}, "no code for sm_120"),
    ("another CUDA", "pytorch", {"cuda": "12.4"}, "is built for CUDA 13.0, not for 12.4"),
    ("Python", "vllm", {"version": "0.8.5", "cuda": "12.4"}, "3.9 to 3.12, debian-13 has 3.13"),
    ("TensorFlow's CUDA", "tensorflow", {"cuda": "13.0"}, "takes CUDA 12.5, not 13.0"),
]


@pytest.mark.parametrize(
    ("what", "name", "changes", "text"), FRAMEWORKS, ids=[one[0] for one in FRAMEWORKS]
)
def test_a_framework_rule_bites(
    what: str, name: str, changes: dict[str, object], text: str
) -> None:
    assert any(text in one for one in refused(with_framework(choose(), name, **changes)))


def test_a_driver_without_open_modules() -> None:
    old = choose("rtx-3090", driver="470.256.02", branch="470")
    assert driver_rules.modules_drive_gpu(old)[0].text.endswith("the first are 515.43.04's")


def test_a_gpu_that_a_newer_branch_has_dropped() -> None:
    found = refused(choose("v100", driver="590.44.01", branch="590", modules="proprietary"))
    assert "driver 590.44.01 cannot drive v100: R580 is the last branch for Volta" in found
    assert any("12.9 was the last with sm_70" in one for one in found)


def test_a_framework_that_the_profile_lacks() -> None:
    found = refused(choose(frameworks=("pytorch", "jax")))
    assert found == ["the profile cube has no framework jax: pytorch, tensorflow, vllm"]


@pytest.mark.parametrize(
    ("gpu", "os", "text"),
    [
        ("rtx-5091", DEBIAN, 'gpu.model rtx-5091 is not in the table: did you mean "rtx-5090"?'),
        ("zzz", DEBIAN, "gpu.model zzz is not in the table: known are v100"),
        ("rtx-5090", "debian-12", 'os debian-12 is not in the table: did you mean "debian-13"?'),
    ],
)
def test_an_unknown_row_is_the_only_refusal(gpu: str, os: str, text: str) -> None:
    found = refused(choose(gpu, os=os))
    assert len(found) == 1
    assert found[0].startswith(text)


UNKNOWN = [
    ("pytorch", {"version": "9.9.9"}, "torch 9.9.9 of pytorch is not in the table"),
    ("vllm", {"version": "9.9.9"}, "vLLM 9.9.9 is not in the table"),
    ("tensorflow", {"version": "9.9.9"}, "TensorFlow 9.9.9 is not in the table"),
]


@pytest.mark.parametrize(("name", "changes", "text"), UNKNOWN)
def test_an_unknown_version_is_told_and_not_refused(
    name: str, changes: dict[str, object], text: str
) -> None:
    choice = with_framework(choose(), name, **changes)
    assert refused(choice) == []
    assert any(one.level == "warning" and text in one.text for one in rules.judge(choice))


def test_an_unknown_cuda_is_told() -> None:
    choice = choose(cuda="13.9")
    assert refused(choice) == []
    assert any(
        "CUDA 13.9 of the toolkit is not in the table" in o.text for o in rules.judge(choice)
    )


def test_minor_version_compatibility_is_told() -> None:
    told = [
        one.text for one in rules.judge(choose("rtx-4090", "specification", source="distribution"))
    ]
    assert "by minor-version compatibility (native: 570.26)" in "".join(told)


@pytest.mark.parametrize(
    ("gpu", "name", "text"),
    [
        ("rtx-5090", "cube", "no code for sm_120: it uses no rtx-5090"),
        ("h100", "cube", "only PTX for sm_90: the driver compiles it at first use"),
        ("h100", "specification", "which driver 550.163.01 does not compile"),
    ],
)
def test_where_tensorflow_lacks_machine_code(gpu: str, name: str, text: str) -> None:
    source: SourceName = "nvidia" if name == "cube" else "distribution"
    choice = choose(gpu, name, source=source)
    assert any(text in one.text for one in framework_rules.tensorflow_works(choice))


def test_a_second_torch_on_the_disk_is_told() -> None:
    choice = with_framework(choose(), "pytorch", version="2.14.1")
    assert framework_rules.torch_is_shared(choice)[0].text == (
        "torch is on the disk more than once: 2.14.1 in pytorch, 2.13.0 in vllm"
    )


def test_a_build_for_the_processor_is_told_and_judged_by_no_gpu_rule() -> None:
    choice = with_framework(choose("rtx-4090"), "pytorch", version="2.6.0", cuda="")
    assert refused(choice) == []
    assert any("it uses no GPU" in one.text for one in rules.judge(choice))


NEAREST = [
    ("rtx-4090", "specification", DEBIAN, "nvidia", {"source": "distribution"}),
    ("rtx-4090", "specification", UBUNTU, "nvidia", {"profile": "cube"}),
    ("rtx-5090", "specification", DEBIAN, "nvidia", {"profile": "cube"}),
    ("rtx-5090", "cube", DEBIAN, "distribution", {"source": "nvidia"}),
    ("rtx-5090", "specification", DEBIAN, "distribution", {"source": "nvidia", "profile": "cube"}),
    ("v100", "specification", DEBIAN, "nvidia", {"source": "distribution"}),
]


@pytest.mark.parametrize(("gpu", "name", "os", "source", "expected"), NEAREST)
def test_the_nearest_set(
    gpu: str, name: str, os: str, source: SourceName, expected: dict[str, str]
) -> None:
    found = rules.nearest(choose(gpu, name, os, source))
    assert found
    assert found.changes == expected
    assert rules.refusals(found.choice) == []


def test_the_nearest_set_leaves_out_a_framework_that_there_is_not() -> None:
    found = rules.nearest(choose(frameworks=("pytorch", "jax")))
    assert str(found) == "frameworks = pytorch"


@pytest.mark.parametrize(
    ("built", "sm", "expected"),
    [
        (("80", "86"), "89", True),
        (("86",), "80", False),
        (("100",), "120", False),
        ((), "75", False),
    ],
)
def test_machine_code_runs_within_its_major_version(
    built: tuple[str, ...],
    sm: str,
    expected: bool,
) -> None:
    assert covers(built, sm) is expected


def test_every_refusal_is_one_sentence_with_a_value() -> None:
    for gpu, name, os in product(MODELS, ["cube", "specification"], [DEBIAN, UBUNTU]):
        for text in refused(choose(gpu, name, os, "distribution")):
            assert any(letter.isdigit() for letter in text), text
            assert "\n" not in text
            assert ". " not in text


def test_the_shipped_profiles_have_what_layer_4_needs() -> None:
    for name in profile.names():
        chosen: Profile = profile.load(name)
        assert set(chosen.frameworks) == set(ALL)
        one: Framework
        for one in chosen.frameworks.values():
            assert "ipykernel" in one.requirements
            assert {"numpy", "pandas"} <= set(one.requirements)
