"""What of this project each link is made from: a file changes just the keys that it should."""

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cube.baseimage import base_files
from cube.chain.key import keys, rooms, sources
from cube.config import LAYER_ROLES
from deploy.operations.programs import package_files
from deploy.roles import monitoring, validation
from deploy.runner.sources import ON_HOST
from tests.unit.chain.project import (
    BASE,
    IMAGE,
    LAYERS,
    PROJECT,
    Digests,
    Names,
    changed,
    check_out,
    digests,
    edited,
    layer_ingredients,
    spec,
)
from tests.unit.chain.project import ROOMS as CHECKED_OUT

ROLES = sorted((PROJECT / "deploy" / "roles").glob("[a-z]*.py"))
TEMPLATES = sorted((PROJECT / "deploy" / "templates").rglob("*.j2"))


@pytest.mark.parametrize("layer", [1, 2, 5])
def test_every_file_that_a_layer_lists_changes_its_key(checkout: Path, layer: int) -> None:
    made = layer_ingredients(checkout, layer, spec())
    assert f"deploy/layer{layer}.py" in made["sources"]
    for name in made["sources"]:
        with edited(checkout / name):
            after = layer_ingredients(checkout, layer, spec())
        assert keys.differences(made, after) == [f"{name} changed"]


@pytest.mark.parametrize("layer", [1, 2, 5])
def test_no_other_file_changes_a_layers_key(tmp_path: Path, layer: int) -> None:
    project = check_out(tmp_path)
    made = layer_ingredients(project, layer, spec())
    paths = [path for path in project.rglob("*") if path.is_file()]
    others = [path for path in paths if str(path.relative_to(project)) not in made["sources"]]
    assert len(others) > 100
    for path in others:
        path.write_text("anything")
    assert layer_ingredients(project, layer, spec()) == made


def ingredients_of(checkout: Path, os_name: str, link: str) -> keys.Ingredients:
    if link == IMAGE:
        return keys.image_ingredients(spec(os_name), head="0" * 64, project=checkout)
    return keys.base_ingredients(spec(os_name), refresh="now", project=checkout)


def files_below(checkout: Path, place: str) -> set[str]:
    return {str(path.relative_to(checkout)) for path in sources.tree(checkout / place)}


ROOMS = [
    ("debian-13", BASE, ("cube/baseimage", "packer/debian-13"), "cube/baseimage/ubuntu"),
    ("ubuntu-24.04", BASE, ("cube/baseimage", "packer/ubuntu-24.04"), "cube/baseimage/debian"),
    ("debian-13", IMAGE, ("cube/seal", "cube/disks", "checks"), "cube/baseimage"),
]


@pytest.mark.parametrize(("os_name", "link", "places", "other"), ROOMS)
def test_a_byte_in_any_file_of_its_rooms_changes_a_key_and_in_no_other(
    tmp_path: Path, os_name: str, link: str, places: tuple[str, ...], other: str
) -> None:
    project = check_out(tmp_path)
    made = ingredients_of(project, os_name, link)
    inside = set.union(*(files_below(project, place) for place in places))
    assert inside - files_below(project, other) <= set(made["sources"])
    others = set.union(*(files_below(project, room) for room in CHECKED_OUT)) - set(made["sources"])
    assert files_below(project, other) <= others
    for name in others:
        add_a_byte(project / name)
    assert ingredients_of(project, os_name, link) == made
    for name in made["sources"]:
        add_a_byte(project / name)
    after = ingredients_of(project, os_name, link)
    assert keys.differences(made, after) == [f"{name} changed" for name in sorted(made["sources"])]


def add_a_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"#")


def test_the_base_has_every_file_that_it_copies(checkout: Path) -> None:
    copied = {*base_files.COPIES.values()}
    assert copied <= set(ingredients_of(checkout, "debian-13", BASE)["sources"])


def test_the_base_has_what_its_room_reads_of_the_disk(checkout: Path) -> None:
    """A module that the room imports from below shapes a base, or stands here with a reason."""
    made = set(ingredients_of(checkout, "debian-13", BASE)["sources"])
    for path in sources.tree(PROJECT / rooms.BASE_ROOM):
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cube.disks"):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                found = [name.replace(".", "/") + ".py" for name in (*names, str(node.module))]
                assert made & set(found), f"{path}: {node.module}"


def test_another_version_of_a_program_makes_the_base_anew(
    checkout: Path, first: Digests, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rooms.version
    for program in rooms.BASE_PROGRAMS["debian-13"]:
        other = {program: "0.1"}
        monkeypatch.setattr(rooms, "version", lambda one, other=other: other.get(one) or real(one))
        assert changed(first, digests(checkout, spec())) == {BASE}


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("deploy/roles/common.py", {1}),
        ("deploy/operations/firewall.py", {1}),
        ("deploy/files/docker/daemon.json", {1}),
        ("deploy/templates/security/sshd.conf.j2", {1}),
        ("deploy/layer3.py", {3}),
        ("deploy/roles/gpu_runtime.py", {3}),
        ("deploy/files/frameworks/new.txt", {4}),
        ("deploy/roles/monitoring.py", {5}),
        ("deploy/files/monitoring/new", {5}),
        ("guest/suites/report.py", {5}),
        ("guest/suites/vllm/server.py", {5}),
        ("guest/cube_top/screen.py", {5}),
        ("guest/health/layer1.py", {5}),
        ("guest/gpus/new.py", {5}),
        ("guest/checking/report.py", {5}),
        ("guest/__main__.py", {5}),
        ("guest/new/new.py", set()),
        ("guest/health/__pycache__/layer1.cpython-311.pyc", set()),
        ("deploy/files/validation/cube-health.timer", {5}),
        ("deploy/runner/layers.py", LAYERS),
        ("deploy/roles/new.py", set()),
        ("deploy/site.py", set()),
        ("deploy/__pycache__/layers.cpython-311.pyc", set()),
        ("guest/health/__pycache__/cube_health.cpython-311.pyc", set()),
        ("guest/health/__pycache__/cube_health.cpython-311.pyc.1234", set()),
        ("packer/debian-13/first-boot.pkr.hcl", {BASE}),
        ("packer/debian-13/new.pkr.hcl", {BASE}),
        ("packer/ubuntu-24.04/install.pkr.hcl", set()),
        ("packer/prove.py", {BASE}),
        ("cube/baseimage/debian/bootstrap.py", {BASE}),
        ("cube/machines/seed.py", {BASE}),
        ("cube/baseimage/ubuntu/autoinstall.py", set()),
        ("cube/seal/cleaning/build.py", {IMAGE}),
        ("cube/seal/cleaning/new.py", {IMAGE}),
        ("cube/disks/presets.py", {BASE, IMAGE}),
        ("cube/seal/flatten/qcow2.py", {IMAGE}),
        ("cube/seal/reboot_test.py", {IMAGE}),
        ("cube/disks/mount.py", {IMAGE}),
        ("cube/disks/gpt.py", {BASE, IMAGE}),
        ("cube/provision/pytest_run.py", {IMAGE}),
        ("cube/runtime/check_report.py", {IMAGE}),
        ("cube/baseimage/packer/evidence.py", {BASE}),
        ("cube/baseimage/packer/seed.py", {BASE}),
        ("cube/baseimage/packer/template.py", {BASE}),
        ("cube/baseimage/new.py", {BASE}),
        ("guest/cube_secure_boot.py", {2}),
        ("guest/cube_boot_loader.py", {BASE}),
        ("cube/build/pipeline.py", set()),
        ("checks/layer1/test_common.py", {IMAGE}),
        ("checks/layer2/test_new.py", {IMAGE}),
    ],
)
def test_a_file_changes_what_it_is_part_of(
    checkout: Path, first: Digests, file: str, names: Names
) -> None:
    with edited(checkout / file):
        assert changed(first, digests(checkout, spec())) == names


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("packer/ubuntu-24.04/install.pkr.hcl", {BASE}),
        ("packer/debian-13/first-boot.pkr.hcl", set()),
        ("packer/prove.py", {BASE}),
        ("cube/baseimage/ubuntu/autoinstall.py", {BASE}),
        ("cube/baseimage/ubuntu/installer.py", {BASE}),
        ("cube/baseimage/debian/bootstrap.py", set()),
    ],
)
def test_ubuntu_is_made_from_its_own_files(checkout: Path, file: str, names: Names) -> None:
    made = spec("ubuntu-24.04")
    before = digests(checkout, made)
    with edited(checkout / file):
        assert changed(before, digests(checkout, made)) == names


def test_a_layer_has_the_files_of_its_own_roles_only(checkout: Path) -> None:
    made = layer_ingredients(checkout, 5, spec(**{"layers.layer5": ("monitoring",)}))
    guest = [name for name in made["sources"] if name.startswith("guest/")]
    assert {name.split("/")[1] for name in guest} == {
        "__init__.py",
        "__main__.py",
        "checking",
        "cube_top",
        "gpus",
    }
    assert not [name for name in made["sources"] if "validation" in name]


def test_a_recipe_tells_a_layers_files_and_nothing_else(checkout: Path) -> None:
    def recipe() -> str:
        return keys.recipe(5, LAYER_ROLES[5], project=checkout)

    before = recipe()
    with edited(checkout / "deploy/roles/monitoring.py"):
        assert recipe() != before
    with edited(checkout / "deploy/roles/common.py"):
        assert recipe() == before


@pytest.mark.parametrize("tool", keys.TOOLS)
def test_another_version_of_a_tool_makes_every_layer_anew(
    checkout: Path, first: Digests, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0.1" if name == tool else real(name)
    )
    assert changed(first, digests(checkout, spec())) == LAYERS


# -- rules that the finding of sources stands on


def calls(path: Path, names: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.stem)
def test_a_role_takes_files_from_its_own_folders(role: Path) -> None:
    for call in calls(role, {"file_text", "template_text"}):
        name = call.args[0]
        text = name.values[0] if isinstance(name, ast.JoinedStr) else name
        assert isinstance(text, ast.Constant), f"{role.name}, line {call.lineno}: not a literal"
        assert str(text.value).startswith(f"{role.stem}/"), f"{role.name}, line {call.lineno}"


def test_a_key_covers_what_a_role_installs() -> None:
    """Every module of guest/ on the host is among the files of its layer."""
    covered = layer_ingredients(PROJECT, 5, spec())["sources"]
    places = (monitoring.DASHBOARD, *validation.PLACES)
    names = {f"guest/{path.removeprefix(f'{ON_HOST}/')}" for path in package_files(*places)}
    assert names <= covered.keys()


def test_only_roles_take_files() -> None:
    others = set((PROJECT / "deploy").rglob("*.py")) - set(ROLES)
    others = {path for path in others if "files" not in path.relative_to(PROJECT).parts}
    assert len(others) > 20
    found = [path for path in others if any(calls(path, {"file_text", "template_text"}))]
    assert found == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_includes_only_its_own_roles(template: Path) -> None:
    role = template.relative_to(PROJECT / "deploy" / "templates").parts[0]
    pattern = r"{%-?\s*(?:include|import|from|extends)\s+(.*?)\s*-?%}"
    for included in re.findall(pattern, template.read_text()):
        assert included.startswith((f'"{role}/', f"'{role}/")), included


@pytest.mark.parametrize("layer", LAYER_ROLES)
def test_a_layer_imports_nothing_whose_change_would_not_be_seen(layer: int) -> None:
    made = layer_ingredients(PROJECT, layer, spec())
    modules = [PROJECT / name for name in made["sources"]]
    # Of paramiko only the error that ends a connection is named, of gevent a time limit.
    known = sys.stdlib_module_names | {"deploy", "gevent", "paramiko", *keys.TOOLS}
    for path in modules:
        if path.suffix != ".py" or path.is_relative_to(PROJECT / "guest"):
            continue
        for node in sources.nodes(path):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert {name.partition(".")[0] for name in names} <= known, path


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.stem)
def test_the_data_of_every_role_is_seen(role: Path) -> None:
    """What `read` is given at run time is what the key counts."""
    found = sources.data_names(sources.modules(PROJECT, [f"deploy.roles.{role.stem}"]))
    for call in calls(role, {"read"}):
        name = ast.unparse(call.args[0])
        assert set(class_fields(role, name)) <= set(found)


def class_fields(role: Path, name: str) -> list[str]:
    body = re.search(rf"^class {name}:\n(.*?)(?=^\S)", role.read_text(), re.DOTALL | re.MULTILINE)
    assert body, name
    return re.findall(r"^    (\w+): ", body[1], re.MULTILINE)
