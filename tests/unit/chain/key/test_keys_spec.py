"""What of cube.toml each link is made from: a value changes just the keys that it should."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cube.chain.key import keys
from cube.config import Spec, view
from cube.runtime.errors import ChainError
from tests.unit.chain.project import (
    BASE,
    IMAGE,
    Digests,
    Names,
    changed,
    digests,
    layer_ingredients,
    spec,
)
from tests.unit.config.test_certificates import made as certificate
from tests.unit.config.test_certificates import pem

GPU: Names = {2, 3, 4}
NOTHING: Names = set()
KEY = "ssh-ed25519 AAAA me@desk"

#: Every key of cube.toml, another value for it, and the links of Debian that it changes.
TABLE: list[tuple[str, Any, Names]] = [
    ("image.name", "other", {5, IMAGE}),
    ("image.version", "9.9.9", {5, IMAGE}),
    ("image.disk_size", 32 * 1024, {BASE}),
    ("image.layout", "lvm", {BASE}),
    ("image.swap", 4096, {1}),
    ("image.hostname", "other", {BASE, 1}),
    ("image.locale", "de_DE.UTF-8", {1}),
    ("image.timezone", "Asia/Tokyo", {1}),
    ("admin.user", "other", {BASE, 1, 5}),
    ("admin.ssh_keys", (KEY,), {1}),
    ("layers.enabled", (1,), NOTHING),
    ("layers.layer1", ("common", "users"), {1}),
    ("layers.layer2", (), {2}),
    ("layers.layer3", (), {3}),
    ("layers.layer4", (), {4}),
    ("layers.layer5", ("validation",), {5}),
    ("gpu.mode", "assume", GPU),
    ("gpu.model", "rtx-4090", {5}),
    ("gpu.count", 2, {5}),
    ("gpu.memory_mib", 24000, {5}),
    ("stack.profile", "specification", {2, 4}),
    ("stack.source", "distribution", {2}),
    ("stack.nvidia_url", "http://mirror.example/cuda", {2}),
    ("stack.nvidia_fingerprint", "A" * 40, {2}),
    ("stack.toolkit_url", "http://mirror.example/toolkit", {3}),
    ("stack.toolkit_fingerprint", "A" * 40, {3}),
    ("stack.frameworks", ("pytorch",), {4}),
    ("stack.jupyter", True, {4}),
    ("stack.images", ("example.org/base@sha256:" + "0" * 64,), {3}),
    ("docker.source", "docker", {1}),
    ("apply.allow", ("remove-packages",), NOTHING),  # a build has no owner: all is allowed
    ("network.ca_certificates", (Path(__file__),), {1}),
    ("network.keep_ca_certificates", True, {1, IMAGE}),
    ("network.proxy", "http://proxy.example:3128/", {BASE, 1, 2, 3, 4}),
    ("network.apt_mirror", "http://mirror.example/debian", {BASE, 1, 2, 3}),
    ("network.apt_security_mirror", "http://mirror.example/security", {BASE, 1, 2, 3}),
    ("network.package_cache", "off", NOTHING),
    ("network.package_cache", "http://cache.example:3142", NOTHING),
    ("network.pypi_index", "http://index.example/", {1, 4}),
    ("network.ntp_servers", ("ntp.example",), {1}),
    ("build.dir", Path("/elsewhere"), NOTHING),
    ("build.machine", "vm", NOTHING),
    ("build.libvirt_uri", "qemu:///system", NOTHING),
    ("build.cpus", 64, NOTHING),
    ("build.memory", 64 * 1024, NOTHING),
    ("build.refresh", "never", NOTHING),
    ("build.keep_chains", 7, NOTHING),
    ("build.keep_chains", 9, NOTHING),
    ("os.ubuntu.iso_url", "http://example.org/other.iso", NOTHING),
    ("os.ubuntu.iso_sha256", "1" * 64, NOTHING),
    ("os.ubuntu.autoinstall_schema", Path(__file__), NOTHING),
    ("os.debian.kernel", "cloud", {BASE}),
]
#: Where Ubuntu differs: its installer asks for more, and there is no kernel to choose.
UBUNTU: dict[str, Names] = {
    "image.layout": NOTHING,  # it is Ubuntu's default
    "image.locale": {BASE, 1},
    "image.timezone": {BASE, 1},
    "os.ubuntu.iso_sha256": {BASE},
    "os.debian.kernel": NOTHING,
}


def known(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Yield every key that cube.toml may have, with its table."""
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        tables = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if tables:
            yield from known(tables[0], f"{path}{name}.")
        else:
            yield f"{path}{name}"


def test_the_table_has_every_key_of_cube_toml() -> None:
    """A new key: say here which links it changes, after its value has come to them."""
    there = {path for path in known(Spec) if not path.startswith("hosts.")}
    assert {path for path, _, _ in TABLE} == there - {"file", "image.os"}


@pytest.mark.parametrize(("path", "value", "names"), TABLE, ids=[row[0] for row in TABLE])
def test_a_value_changes_what_reads_it(
    checkout: Path, first: Digests, path: str, value: object, names: Names
) -> None:
    assert changed(first, digests(checkout, spec(**{path: value}))) == names


@pytest.mark.parametrize("path", UBUNTU)
def test_ubuntu_reads_other_values(checkout: Path, path: str) -> None:
    value = next(row[1] for row in TABLE if row[0] == path)
    before = digests(checkout, spec("ubuntu-24.04"))
    after = digests(checkout, spec("ubuntu-24.04", **{path: value}))
    assert changed(before, after) == UBUNTU[path]


def test_another_operating_system_is_another_base(checkout: Path, first: Digests) -> None:
    """The layers above differ by their parent."""
    assert changed(first, digests(checkout, spec("ubuntu-24.04"))) == {BASE}


def test_a_datum_that_cube_toml_does_not_give_is_refused() -> None:
    held = {"admin_user": "cube", "proxy": ""}
    assert keys.read_data(held, ["proxy"]) == {"proxy": ""}
    with pytest.raises(ChainError, match=r"host\.data\.ssh_port.*no key covers it"):
        keys.read_data(held, ["proxy", "ssh_port"])


def test_hosts_change_nothing(checkout: Path, first: Digests) -> None:
    assert digests(checkout, spec(hosts={"desk": None})) == first


def test_a_key_changes_all_that_stands_on_it(checkout: Path) -> None:
    def line(**changes: Any) -> list[str]:
        """Return the keys of the chain, base first, each with its real parent."""
        made = spec(**changes)
        found = [keys.digest(keys.base_ingredients(made, refresh="now", project=checkout))]
        for layer in (1, 2, 5):
            wanted = keys.layer_ingredients(
                made, layer, parent=found[-1], refresh="now", project=checkout
            )
            found.append(keys.digest(wanted))
        return found

    before = line()
    for path, value, lowest in (
        ("image.disk_size", 9999, 0),
        ("image.timezone", "Asia/Tokyo", 1),
        ("gpu.mode", "assume", 2),
        ("image.version", "9.9.9", 3),
    ):
        after = line(**{path: value})
        same = [one == other for one, other in zip(before, after, strict=True)]
        assert same == [True] * lowest + [False] * (4 - lowest), path


def test_the_supply_of_packages_is_an_ingredient_of_every_link(checkout: Path) -> None:
    below: dict[str, Any] = {"parent": "0" * 64, "project": checkout}
    for layer in (1, 2, 5):
        made = [
            keys.digest(keys.layer_ingredients(spec(), layer, refresh=refresh, **below))
            for refresh in ("2026-11-23", "2026-11-24")
        ]
        assert made[0] != made[1]


# -- what is there of the machine


@pytest.mark.parametrize(
    ("mode", "layer", "counts"),
    [("auto", 2, True), ("auto", 5, False), ("assume", 2, False), ("skip", 4, False)],
)
def test_gpus_count_where_they_decide(checkout: Path, mode: str, layer: int, counts: bool) -> None:
    made = spec(**{"gpu.mode": mode})
    below: dict[str, Any] = {"parent": "", "refresh": "now", "project": checkout}
    without, one, two, swapped = (
        keys.digest(keys.layer_ingredients(made, layer, gpus=gpus, **below))
        for gpus in ([], ["10de:2b85"], ["10de:2b85", "10de:0001"], ["10de:0001", "10de:2b85"])
    )
    assert two == swapped
    assert len({without, one, two}) == (3 if counts else 1)


def test_a_certificate_of_this_machine_counts_by_its_content(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = spec(**{"network.ca_certificates": "host"})
    found = []
    one, two = (pem(certificate(name)) for name in ("one", "two"))
    for folder, content in (("a", one), ("b", one), ("b", two), ("b", one)):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "company.crt").write_bytes(content)
        monkeypatch.setattr(view, "CA_FOLDER", tmp_path / folder)
        found.append(digests(checkout, made))
    assert found[0] == found[1] == found[3]
    assert changed(found[0], found[2]) == {1}


def test_data_may_be_that_of_a_box(checkout: Path) -> None:
    below: dict[str, Any] = {"parent": "", "refresh": "now", "project": checkout}
    data = {**view.build_data(spec()), "building": False}
    box = keys.layer_ingredients(spec(), 1, data=data, **below)
    assert keys.differences(
        layer_ingredients(checkout, 1, spec()), {**box, "parent": "0" * 64}
    ) == ["cube.toml building: true -> false"]


def test_a_password_is_in_no_ingredient(checkout: Path) -> None:
    url = "http://me:Tr0ub4dor@proxy.example:3128/"
    for path in (
        "network.proxy",
        "network.apt_mirror",
        "network.apt_security_mirror",
        "network.pypi_index",
    ):
        made = spec(**{path: url})
        all_of_it = [
            keys.base_ingredients(made, refresh="now", project=checkout),
            layer_ingredients(checkout, 1, made),
        ]
        assert "Tr0ub4dor" not in repr(all_of_it)
        assert "proxy.example" not in repr(all_of_it)
