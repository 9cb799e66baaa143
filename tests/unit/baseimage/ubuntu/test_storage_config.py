"""The disk in the installer's words: that of `cube.disks.shape`, and no other."""

import pytest
import yaml

from cube.baseimage.ubuntu import autoinstall, storage_config
from cube.baseimage.ubuntu.storage_config import Partition
from cube.config import Layout
from cube.disks import shape
from tests.unit.answers import answers, changed, write

LAYOUTS: tuple[Layout, ...] = ("lvm", "plain")

BIOS = Partition(
    start_mib=shape.BIOS_AT, size_mib=shape.BIOS_MIB, flag="bios_grub", group="", volume="",
    fstype="", label="", path="", source="", options="",
)  # fmt: skip
ESP = Partition(
    start_mib=shape.ESP_AT, size_mib=shape.ESP_MIB, flag="boot", group="", volume="",
    fstype="fat32", label="CUBE-ESP", path="/boot/efi", source="LABEL=CUBE-ESP",
    options=shape.ESP_OPTIONS,
)  # fmt: skip


def test_the_plain_layout_is_three_partitions() -> None:
    root = Partition(
        start_mib=shape.ROOT_AT,
        size_mib=None,
        flag="",
        group="",
        volume="",
        fstype="ext4",
        label="cube-root",
        path="/",
        source="LABEL=cube-root",
        options="errors=remount-ro",
    )
    assert storage_config.plan(storage_config.render("plain")) == [BIOS, ESP, root]


def test_the_lvm_layout_has_one_volume_over_the_last_partition() -> None:
    root = Partition(
        start_mib=shape.ROOT_AT,
        size_mib=None,
        flag="lvm",
        group="cube",
        volume="root",
        fstype="ext4",
        label="cube-root",
        path="/",
        source="LABEL=cube-root",
        options="errors=remount-ro",
    )
    config = storage_config.render("lvm")
    assert storage_config.plan(config) == [BIOS, ESP, root]
    (volume,) = storage_config.of_type(config, "lvm_partition")
    assert volume["size"] == storage_config.REST


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_answers_make_that_disk_and_no_swap(layout: Layout) -> None:
    storage = answers(layout)["storage"]
    assert storage == {"swap": {"size": 0}, "config": storage_config.render(layout)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_grub_is_installed_on_the_disk_and_on_the_esp(layout: Layout) -> None:
    config = storage_config.render(layout)
    assert [action["id"] for action in config if action.get("grub_device")] == ["disk", "esp"]


@pytest.mark.parametrize(
    ("text", "size_mib"), [("1M", 1), ("512M", 512), ("2G", 2048), (storage_config.REST, None)]
)
def test_a_size_is_read(text: str | int, size_mib: int | None) -> None:
    assert storage_config.parse_size_mib(text) == size_mib


@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_esp_is_refused_with_both_sizes(layout: Layout) -> None:
    found = changed(answers(layout), {"storage.config.esp.size": "64M"})
    assert autoinstall.check_user_data(write(found)) == [
        "autoinstall.storage: partition 2: size_mib is 64, not 512; "
        "partition 3: start_mib is 66, not 514"
    ]


def test_every_mistake_of_the_references_is_told() -> None:
    change = {
        "storage.config.esp.device": "sda",
        "storage.config.esp-fs.volume": "root-fs",
        "storage.config.root-mount.device": "root",
    }
    (problem,) = autoinstall.check_user_data(write(changed(answers(), change)))
    assert problem.removeprefix("autoinstall.storage: ").split("; ") == [
        "esp: there is no action 'sda' before it",
        "esp-fs: there is no action 'root-fs' before it",
        "root-mount: 'root' is a partition",
        "'root' is used by 2 actions",
    ]


def test_ids_are_used_once() -> None:
    change = {"storage.config.bios.id": "esp"}
    (problem,) = autoinstall.check_user_data(write(changed(answers(), change)))
    assert "the id 'esp' is used 2 times" in problem


def test_yaml_keeps_the_order_of_the_partitions() -> None:
    config = yaml.safe_load(yaml.safe_dump(storage_config.render("lvm")))
    assert [part["id"] for part in storage_config.of_type(config, "partition")] == [
        "bios",
        "esp",
        "root",
    ]
