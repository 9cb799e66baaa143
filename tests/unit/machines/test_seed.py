from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cube.machines import BUILD_USER, MachineRequest, Seed
from cube.machines import seed as seeds
from cube.runtime import run

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFAKE cube"
SEED = Seed(instance_id="i-1", user="cube", public_key=KEY, hostname="desk1")


def test_account_has_the_key_and_no_password() -> None:
    text = seeds.render_user_data(SEED)
    assert text.startswith("#cloud-config\n")
    (account,) = yaml.safe_load(text)["users"]
    assert account["name"] == "cube"
    assert account["ssh_authorized_keys"] == [KEY]
    assert account["lock_passwd"] is True
    assert not {"passwd", "hashed_passwd", "plain_text_passwd"} & account.keys()


def test_first_boot_touches_no_package() -> None:
    data = yaml.safe_load(seeds.render_user_data(SEED))
    assert (data["package_update"], data["package_upgrade"]) == (False, False)


@pytest.mark.parametrize(
    ("hostname", "expected"),
    [("", {"instance-id": "i-1"}), ("desk1", {"instance-id": "i-1", "local-hostname": "desk1"})],
)
def test_meta_data_names_the_host_only_when_told(hostname: str, expected: dict[str, str]) -> None:
    seed = Seed(instance_id="i-1", user="cube", public_key=KEY, hostname=hostname)
    assert yaml.safe_load(seeds.render_meta_data(seed)) == expected


def test_another_build_key_is_another_instance() -> None:
    first, second = seeds.build_seed("key one"), seeds.build_seed("key two")
    assert first.user == BUILD_USER
    assert first.instance_id != second.instance_id
    assert first == seeds.build_seed("key one")


def test_request_without_a_seed_lets_the_build_key_in(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(KEY + "\n")
    request = MachineRequest(
        name="m", disk=tmp_path / "d", run_dir=tmp_path, key_file=tmp_path / "key"
    )
    assert seeds.wanted(request) == seeds.build_seed(KEY)


@pytest.mark.parametrize("names", ["norock", "nojoliet"])
@pytest.mark.parametrize(
    ("file", "render"),
    [("user-data", seeds.render_user_data), ("meta-data", seeds.render_meta_data)],
)
def test_iso_is_what_cloud_init_looks_for(
    tmp_path: Path, names: str, file: str, render: Callable[[Seed], str]
) -> None:
    iso = tmp_path / "seed.iso"
    seeds.write_iso(SEED, iso)
    read: list[str | Path] = ["xorriso", "-read_fs", names, "-osirrox", "on", "-indev", iso]
    run.run([*read, "-extract", f"/{file}", tmp_path / file])
    assert (tmp_path / file).read_text() == render(SEED)
    assert "LABEL=cidata" in run.run(["blkid", "--output", "export", iso]).stdout.split()


def test_a_seed_replaces_an_earlier_one(tmp_path: Path) -> None:
    iso = tmp_path / "seed.iso"
    for seed in (SEED, seeds.build_seed(KEY)):
        seeds.write_iso(seed, iso)
    run.run(["xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/", tmp_path / "all"])
    names = {file.name for file in (tmp_path / "all").iterdir()}
    assert names == {"user-data", "meta-data"}
    assert seeds.build_seed(KEY).instance_id in (tmp_path / "all/meta-data").read_text()
