"""Presets say of every unit what it is."""

from pathlib import Path

from cube.disks import presets

LISTED = """\
ssh.service enabled enabled
nftables.service disabled enabled
getty@.service enabled enabled
systemd-pcrlock.service indirect disabled
mounted.mount generated -
masked.service masked enabled
boot.service static -
linked.service linked-runtime enabled
"""


def test_every_unit_that_can_be_on_or_off_has_a_line() -> None:
    assert presets.render(LISTED, {"getty@.service": ["tty1", "tty2"]}).splitlines()[1:] == [
        "enable getty@.service tty1 tty2",
        "enable ssh.service",
        "disable nftables.service",
        "enable getty@.service",
        "disable systemd-pcrlock.service",
        "disable linked.service",
    ]


def test_instances_are_links_that_are_not_masked(tmp_path: Path) -> None:
    wants = tmp_path / "getty.target.wants"
    wants.mkdir()
    for name in ("getty@tty2.service", "getty@tty1.service", "plain.service"):
        (wants / name).symlink_to("/usr/lib/systemd/system/x")
    (tmp_path / "serial-getty@ttyS0.service").symlink_to("/dev/null")
    (wants / "copy@1.service").write_text("")
    assert presets.instances(tmp_path) == {"getty@.service": ["tty1", "tty2"]}


def test_both_scopes_are_written_by_the_systems_own_systemctl(tmp_path: Path) -> None:
    asked: list[tuple[str, ...]] = []

    def systemctl(*words: str) -> str:
        asked.append(words)
        return LISTED

    presets.write(tmp_path, systemctl)
    assert ["--global" in words for words in asked] == [False, True]
    assert all(words[0] == "--root=/" for words in asked)
    for scope in ("system", "user"):
        text = (tmp_path / f"etc/systemd/{scope}-preset/00-cube.preset").read_text()
        assert text == presets.render(LISTED, {})
