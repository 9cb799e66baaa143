import io
from pathlib import Path

import pycdlib
import pytest
import yaml

from cube.machines import BUILD_USER, MachineRequest, Seed
from cube.machines import seed as seeds

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


@pytest.mark.parametrize("names", ["rr_path", "joliet_path"])
def test_iso_is_what_cloud_init_looks_for(tmp_path: Path, names: str) -> None:
    seeds.write_iso(SEED, tmp_path / "seed.iso")
    image = pycdlib.PyCdlib()
    image.open(str(tmp_path / "seed.iso"))
    try:
        assert image.pvd.volume_identifier.decode().strip() == "cidata"
        content = io.BytesIO()
        image.get_file_from_iso_fp(content, **{names: "/user-data"})
        assert content.getvalue().decode() == seeds.render_user_data(SEED)
    finally:
        image.close()
