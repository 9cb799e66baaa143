import pytest

from cube.stack.lockfile import Entry
from cube.stack.wheels import fitting

TRIXIE = fitting.ranks("3.13", "2.41")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["p-1-py3-none-any.whl"], "p-1-py3-none-any.whl"),
        (["p-1-py3-none-any.whl", "p-1-cp313-cp313-manylinux_2_28_x86_64.whl"],
         "p-1-cp313-cp313-manylinux_2_28_x86_64.whl"),
        (["p-1-cp312-cp312-manylinux_2_28_x86_64.whl", "p-1-cp39-abi3-manylinux1_x86_64.whl"],
         "p-1-cp39-abi3-manylinux1_x86_64.whl"),
        (["p-1-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
          "p-1-cp313-cp313-manylinux_2_28_x86_64.whl"],
         "p-1-cp313-cp313-manylinux_2_28_x86_64.whl"),
        (["p-1-cp313-cp313t-manylinux_2_28_x86_64.whl", "p-1-cp313-cp313-win_amd64.whl",
          "p-1-cp313-cp313-manylinux_2_28_aarch64.whl", "p-1-cp313-cp313-musllinux_1_2_x86_64.whl",
          "p-1-cp313-cp313-manylinux_2_42_x86_64.whl", "p-1.tar.gz", "nonsense.whl"], ""),
        ([], ""),
    ],
)  # fmt: skip
def test_the_file_is_taken_that_fits_best(names: list[str], expected: str) -> None:
    assert fitting.best(names, TRIXIE) == expected
    assert fitting.best(reversed(names), TRIXIE) == expected


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("", True),
        ("sys_platform == 'linux' and platform_machine == 'x86_64'", True),
        ("python_full_version < '3.13'", False),
        ("python_version >= '3.13'", True),
        ("sys_platform == 'win32'", False),
        ("what is this", True),
        ("'x' in extras", True),
    ],
)
def test_markers_say_whether_a_package_is_for_the_system(marker: str, expected: bool) -> None:
    entry = Entry(name="p", version="1", marker=marker, hashes=(), line=1)
    assert fitting.applies(entry, "3.13") == expected


def test_both_systems_of_the_table_take_the_wheels_of_their_python() -> None:
    noble = fitting.ranks("3.12", "2.39")
    names = [f"p-1-cp{minor}-cp{minor}-manylinux_2_39_x86_64.whl" for minor in (312, 313)]
    assert [fitting.best(names, order) for order in (noble, TRIXIE)] == names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("torch-2.13.0-cp313-cp313-manylinux_2_28_x86_64.whl", True),
        ("vllm-0.32.0-cp38-abi3-manylinux_2_28_x86_64.whl", True),
        ("torch-2.13.0-cp312-cp312-manylinux_2_28_x86_64.whl", False),
        ("torch-2.13.0-cp313-cp313t-manylinux_2_28_x86_64.whl", False),
        ("torch-2.13.0-cp313-cp313-manylinux_2_28_aarch64.whl", False),
        ("torch-2.13.0-cp313-cp313-win_amd64.whl", False),
        ("torch-2.13.0.tar.gz", False),
    ],
)
def test_wheels_that_fit(name: str, expected: bool) -> None:
    assert bool(fitting.best([name], TRIXIE)) is expected
