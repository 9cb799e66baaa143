"""What a layer's sources are, and which data they read, found in small projects."""

import os
from pathlib import Path
from textwrap import dedent

import pytest

from cube.chain.key import sources
from cube.runtime.errors import CubeError

ROLE = "deploy/roles/role.py"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the packages that every role is in."""
    for name in ("deploy/__init__.py", "deploy/roles/__init__.py", "deploy/runner/layers.py"):
        put(tmp_path, name)
    return tmp_path


def put(project: Path, name: str, text: str = "") -> Path:
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text))
    return path


def followed(project: Path, text: str) -> list[str]:
    """Return the modules that a role with this text is made of, without its packages."""
    put(project, ROLE, text)
    found = sources.modules(project, ["deploy.roles.role"])
    names = [path.relative_to(project).as_posix() for path in found]
    return [name for name in names if name not in {ROLE, *PACKAGES}]


PACKAGES = ("deploy/__init__.py", "deploy/roles/__init__.py")


@pytest.mark.parametrize(
    "text",
    [
        "import deploy.facts.apt",
        "import deploy.facts.apt as facts, os",
        "from deploy.facts import apt",
        "from deploy.facts import apt as facts",
        "from deploy.facts.apt import NAME",
        "from deploy.facts.apt import *",
        "from ..facts import apt",
        "from ..facts.apt import NAME",
        "def role():\n    from deploy.facts.apt import NAME\n",
        "try:\n    import deploy.facts.apt\nexcept ImportError:\n    pass\n",
    ],
)
def test_every_form_of_import_is_followed(project: Path, text: str) -> None:
    put(project, "deploy/facts/__init__.py")
    put(project, "deploy/facts/apt.py", "NAME = 1")
    put(project, "deploy/facts/other.py")
    assert followed(project, text) == ["deploy/facts/__init__.py", "deploy/facts/apt.py"]


def test_imports_of_imports_are_followed_and_circles_end(project: Path) -> None:
    put(project, "deploy/one.py", "from deploy import two")
    put(project, "deploy/two.py", "import deploy.three")
    put(project, "deploy/three.py", "import deploy.one, deploy.roles.role")
    assert followed(project, "import deploy.one") == [
        "deploy/one.py",
        "deploy/three.py",
        "deploy/two.py",
    ]


def test_what_a_package_imports_is_followed(project: Path) -> None:
    put(project, "deploy/facts/__init__.py", "from .apt import NAME\nfrom . import pci")
    put(project, "deploy/facts/apt.py", "NAME = 1")
    put(project, "deploy/facts/pci.py")
    assert followed(project, "from deploy.facts import NAME") == [
        "deploy/facts/__init__.py",
        "deploy/facts/apt.py",
        "deploy/facts/pci.py",
    ]


def test_what_is_not_ours_is_not_followed(project: Path) -> None:
    put(project, "cube/spec.py")
    put(project, "deployed.py")
    put(project, "deploy/used.py")
    text = (
        "import os, jinja2, deployed, cube.config\nfrom pyinfra import host\n# import deploy.used"
    )
    assert followed(project, text) == []


def test_a_role_has_its_modules_files_and_templates(project: Path) -> None:
    put(project, ROLE)
    put(project, "deploy/roles/other.py")
    mine = ["deploy/files/role/deep/er/unit.service", "deploy/templates/role/x.j2"]
    for name in [*mine, "deploy/files/other/x", "deploy/files/role/__pycache__/x.cpython-311.pyc"]:
        put(project, name)
    put(project, "deploy/files/role/x.pyc")
    found = sources.role_files(project, ["role"])
    assert found == sorted(found)
    assert [path.relative_to(project).as_posix() for path in found] == sorted(
        [*PACKAGES, "deploy/runner/layers.py", ROLE, *mine]
    )


def test_a_role_has_the_files_of_the_roles_that_it_imports(project: Path) -> None:
    put(project, ROLE, "from deploy.roles.other import configure")
    theirs = ["deploy/roles/other.py", "deploy/files/other/unit", "deploy/templates/other/x.j2"]
    for name in [*theirs, "deploy/roles/third.py", "deploy/files/third/unit"]:
        put(project, name)
    found = [path.relative_to(project).as_posix() for path in sources.role_files(project, ["role"])]
    assert found == sorted([*PACKAGES, "deploy/runner/layers.py", ROLE, *theirs])


def test_a_role_that_this_release_lacks_adds_nothing(project: Path) -> None:
    names = [path.relative_to(project).as_posix() for path in sources.role_files(project, ["no"])]
    assert names == sorted([*PACKAGES, "deploy/runner/layers.py"])


def test_files_are_told_by_their_content_alone(project: Path) -> None:
    path = put(project, ROLE, "# one")
    before = sources.hashes(project, [path])
    path.chmod(0o600)
    os.utime(path, (0, 0))
    assert sources.hashes(project, [path]) == before
    assert list(before) == [ROLE]
    put(project, ROLE, "# two")
    assert sources.hashes(project, [path]) != before


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"x = 1\ndef role(:\n", "role.py, line 2: invalid syntax"),
        (b"if x:\npass\n", "role.py, line 2: expected an indented block"),
        (b"x = '\xff'\n", "role.py.*: .*utf-8"),
        (b"x = 1\0\n", "role.py.*null bytes"),
    ],
)
def test_what_is_no_python_is_told_in_one_line(project: Path, content: bytes, told: str) -> None:
    (project / ROLE).write_bytes(content)
    with pytest.raises(CubeError, match=told) as error:
        sources.role_files(project, ["role"])
    assert "\n" not in error.value.message
    assert error.value.hint == "correct the file"


# -- which data is read

SETTINGS = """
    class Settings:
        '''What the role reads.'''

        user: str
        port: int = 22

        def method(self) -> None: ...
"""


def read(project: Path, text: str) -> list[str]:
    return sources.data_names([put(project, ROLE, dedent(SETTINGS) + dedent(text))])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("data = read(Settings)", ["port", "user"]),
        ("render(read(Settings))", ["port", "user"]),
        ("data = read(cls=Settings)", ["port", "user"]),
        ("from deploy.runner.data import read\nread(Settings)", ["port", "user"]),
        ("x = host.data.mode", ["mode"]),
        ("x = f'{host.data.mode}'", ["mode"]),
        ("x = current_host.data.mode.upper()", ["mode"]),
        ("x = state.host.data.mode", ["mode"]),
        ("x = host.data.get('mode')", ["mode"]),
        ("x = host.data.get('mode', {}).get('key')", ["mode"]),
        ("x = getattr(host.data, 'mode')", ["mode"]),
        ("x = getattr(host.data, 'mode', None)", ["mode"]),
        ("read(Settings); x = host.data.mode; y = host.data.user", ["mode", "port", "user"]),
        ("x = stream.read(512); y = path.read_text(); z = data.mode", []),
        ("x = host.name; y = host.get_fact(Mode)", []),
    ],
)
def test_data_that_is_read_is_named(project: Path, text: str, names: list[str]) -> None:
    assert read(project, text) == names


@pytest.mark.parametrize(
    "text",
    [
        "read(Other)",
        "read(choose())",
        "read()",
        "class Child(Settings):\n    more: str\nread(Child)",
        "from deploy.runner.data import read as fetch",
        "from deploy.runner import data\ndata.read(Settings)",
        "from .. import data as stored\nstored.read(Settings)",
        "import deploy.runner.data as stored\nstored.read(Settings)",
        "deploy.runner.data.read(Settings)",
        "get = read\nget(Settings)",
        "settings = map(read, [Settings])",
        "from pyinfra import host as box\nx = box.data.mode",
        "box = host\nx = box.data.mode",
        "x = getattr(host, 'data').mode",
        "x = getattr(host, name).mode",
        "x = vars(host)['data']",
        "x = getattr(host.data, f'layer{n}_roles')",
        "x = host.data.get(name)",
        "x = host.data.dict()",
        "x = host.data['mode']",
        "x = dict(host.data)",
        "def role(data=host.data): ...",
        "for key in host.data: ...",
    ],
)
def test_a_read_that_does_not_show_its_key_is_refused(project: Path, text: str) -> None:
    with pytest.raises(CubeError, match=r"role.py, line \d+: .*: unclear which data") as error:
        read(project, text)
    assert error.value.hint


def test_a_class_of_another_module_is_refused(project: Path) -> None:
    other = put(project, "deploy/other.py", SETTINGS)
    role = put(project, ROLE, "from deploy.other import Settings\nread(Settings)")
    with pytest.raises(CubeError, match=r"role.py, line 2: read\(Settings\)"):
        sources.data_names([other, role])


def test_classes_of_one_name_are_told_apart(project: Path) -> None:
    one = put(project, "deploy/roles/one.py", "class Settings:\n    one: str\nread(Settings)")
    two = put(project, "deploy/roles/two.py", "class Settings:\n    two: str\nread(Settings)")
    assert sources.data_names([one, two]) == ["one", "two"]
    assert sources.data_names([two]) == ["two"]


def test_the_reader_itself_reads_what_the_roles_give_it(project: Path) -> None:
    reader = put(
        project, "deploy/runner/data.py", "def read(cls):\n    return build(cls, host.data.dict())"
    )
    assert sources.data_names([reader]) == []
