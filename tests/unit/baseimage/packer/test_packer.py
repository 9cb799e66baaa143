"""Packer: its output as data, what is told of a failure, and what a disk must say for itself."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cube import config
from cube.baseimage.packer import check, events, evidence, inputs, seed, template, tool, watch
from cube.baseimage.packer.events import Event
from cube.config.workspace import Workspace
from cube.disks import shape
from cube.machines.seed import build_seed, render_user_data
from cube.runtime import log, run
from cube.runtime.errors import HostError, PackerError

MIB = 1024 * 1024
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI someone"


def a_spec(folder: Path, text: str = "") -> config.Spec:
    return config.load_text(f'[build]\ndir = "build"\n{text}', folder / "cube.toml")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1,,ui,say,hello", Event(at=1, target="", kind="ui", data=("say", "hello"))),
        (
            "1795466254,,ui,say,Warning: big%!(PACKER_COMMA)\\na checksum",
            Event(at=1795466254, target="", kind="ui", data=("say", "Warning: big,\na checksum")),
        ),
        ("2,q,artifact-count,1", Event(at=2, target="q", kind="artifact-count", data=("1",))),
        ("3,,version,1.6.6", Event(at=3, target="", kind="version", data=("1.6.6",))),
        ("4,,version-prelease,", Event(at=4, target="", kind="version-prelease", data=("",))),
        ("5,,end", Event(at=5, target="", kind="end", data=())),
        ("6,,ui,say,a\\r\\nb\r\n", Event(at=6, target="", kind="ui", data=("say", "a\r\nb"))),
    ],
)  # fmt: skip
def test_a_line_is_an_event(line: str, expected: Event) -> None:
    assert events.parse(line) == expected


@pytest.mark.parametrize(
    "line",
    ["", "panic: runtime error", "1,", "1,,", "x,,ui,say,hello", "-1,,ui,say,hello",
     "²,,ui,say,x", "Warning, a, comma", ",,ui,say,hello"],
)  # fmt: skip
def test_a_line_is_no_event(line: str) -> None:
    assert events.parse(line) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1,,ui,say,==> qemu.first-boot: Waiting for SSH", "Waiting for SSH"),
        ("1,,ui,message,    qemu.first-boot: cube: proven", "cube: proven"),
        ("1,,ui,say,Build 'qemu.x' finished.", "Build 'qemu.x' finished."),
        ("1,,ui,say", ""),
        ("1,,version,1.6.6", ""),
    ],
)
def test_what_packer_says_to_people(line: str, expected: str) -> None:
    event = events.parse(line)
    assert event is not None
    assert events.message(event) == expected


def test_a_transcript_keeps_errors_and_artifacts() -> None:
    transcript = tool.Transcript()
    for line in (
        "1,,ui,say,==> qemu.first-boot: Starting VM",
        "1,,ui,error,==> qemu.first-boot: Error launching VM: Qemu failed to start.",
        "1,,ui,error,==> qemu.first-boot: Error launching VM: Qemu failed to start.",
        "1,,error-count,1",
        "1,qemu.first-boot,error,Build was halted.",
        "1,qemu.first-boot,artifact,0,file,0,/out/a%!(PACKER_COMMA)b.raw",
        "1,qemu.first-boot,artifact,0,files-count,1",
        "panic: oops",
    ):
        transcript.hear(line)
    assert transcript.errors == ["Error launching VM: Qemu failed to start.", "Build was halted."]
    assert transcript.artifacts == [Path("/out/a,b.raw")]
    assert transcript.stray == ["panic: oops"]


def test_a_complaint_is_told_once() -> None:
    transcript = tool.Transcript()
    for text in (
        "Timeout waiting for SSH.",
        "Build 'qemu.x' errored after 2 s: Timeout.",
        "\\n==> Some builds didn't complete successfully and had errors:",
        "--> qemu.x: Timeout waiting for SSH.",
    ):
        transcript.hear(f"1,,ui,error,{text}")
    assert transcript.complaint() == "Timeout waiting for SSH."


def test_a_complaint_leaves_packers_warnings_out() -> None:
    transcript = tool.Transcript()
    transcript.hear("1,,ui,error,Warning: no checksum\\n\\nError: Unset variable")
    assert transcript.complaint() == "Error: Unset variable"


def test_without_errors_the_complaint_is_what_was_not_understood() -> None:
    transcript = tool.Transcript()
    transcript.hear("panic: oops")
    assert transcript.complaint() == "panic: oops"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Packer v1.6.6\n", (1, 6, 6)),
        ("Packer v1.11.2\n\nYour version of Packer is out of date!\n", (1, 11, 2)),
        ("Packer v1.12.0-dev (abc)\n", (1, 12, 0)),
    ],
)
def test_a_version_is_read(text: str, expected: tool.Version) -> None:
    assert tool.parse_version(text) == expected


@pytest.mark.parametrize("text", ["", "0 0", "skipping line: 1", "packer 1.6.6"])
def test_another_program_called_packer_is_told_apart(text: str) -> None:
    with pytest.raises(HostError, match="not a version"):
        tool.parse_version(text)


@pytest.mark.parametrize(("found", "staged"), [((1, 6, 6), False), ((1, 7, 0), True)])
def test_plugins_are_declared_where_packer_wants_them(
    tmp_path: Path, found: tool.Version, staged: bool
) -> None:
    with tool.staged("debian-13", tmp_path, found) as folder:
        assert (folder / "plugins.pkr.hcl").exists() is staged
        assert (folder.parent / "prove.py").exists()
    assert not folder.exists()


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    with tool.scratch_folder(tmp_path) as scratch:
        pass
    scratch.mkdir()
    (scratch / "left.iso").touch()
    with tool.scratch_folder(tmp_path) as again:
        assert again == scratch
        assert list(again.iterdir()) == []
    assert not scratch.exists()


def test_the_last_lines_of_a_console_are_plain_text(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    console.write_bytes(b"\x1b[2J\x1b[0;32mold\x1b[0m\r\r\n\r\n[ 1.0] \x1b[1mnew\xff\r\nlast")
    assert watch.console_tail(console, 2) == "[ 1.0] new\ufffd\nlast"


def test_a_console_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert watch.console_tail(tmp_path / "console.log") == ""


def test_no_qemu_writes_to_a_strangers_console(tmp_path: Path) -> None:
    assert watch.qemu_pid(tmp_path / "console.log") is None


def test_a_panic_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c").write_text("[1.0] Kernel panic - not syncing: no init\n[1.1] ---[ end ]---\n")
    monkeypatch.setattr(watch, "qemu_pid", lambda _: 1)
    with pytest.raises(PackerError, match="kernel panicked"):
        watch.Watch(tmp_path / "c", "first boot").tick()


def test_a_qemu_that_is_gone_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = iter([None, 7, None, None])
    monkeypatch.setattr(watch, "qemu_pid", lambda _: next(pids))
    monkeypatch.setattr(watch, "EVERY_S", 0)
    monkeypatch.setattr(watch, "GONE_S", 0)
    waiting = watch.Watch(tmp_path / "c", "first boot")
    for _ in range(3):  # not there yet, there, just gone
        waiting.tick()
    with pytest.raises(PackerError, match="QEMU ended"):
        waiting.tick()


def test_the_console_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c").write_text("starting\n")
    monkeypatch.setattr(watch, "qemu_pid", lambda _: 7)
    monkeypatch.setattr(watch, "EVERY_S", 0)
    waiting = watch.Watch(tmp_path / "c", "first boot")
    heard: list[log.Event] = []
    with log.listening(heard.append):
        waiting.tick()
        waiting.tick()
    assert [event.text for event in heard] == ["first boot: starting"]


def test_qemus_words_are_found_in_packers_log() -> None:
    said = (
        "2026/11/23 20:43:16 packer-builder-qemu plugin: Qemu version: 7.2.22\n"
        "2026/11/23 20:43:16 packer-builder-qemu plugin: Qemu stderr: unable to find CPU 'x'\n"
        "2026/11/23 20:43:17 packer-builder-qemu plugin: Qemu stderr: terminating on signal 2\n"
        "2026/11/23 20:43:16 packer-builder-qemu plugin: [DEBUG] scp stderr (length 71): x\n"
    )
    assert template.qemu_words(said) == "unable to find CPU 'x'"


def test_a_failure_tells_all_that_is_known(tmp_path: Path) -> None:
    folder = inputs.Folder(work=tmp_path)
    folder.log.write_text("plugin: Qemu stderr: no CPU\n")
    folder.console.write_text("Kernel panic\n")
    error = template.explained(PackerError("x failed", details="halted"), "first boot", folder)
    assert error.message == "first boot: x failed"
    assert str(folder.log) in error.hint
    assert error.details == "halted\nQEMU said:\nno CPU\nThe console's last lines:\nKernel panic"


def test_packer_is_told_a_files_place_as_a_url(tmp_path: Path) -> None:
    found, folder = a_spec(tmp_path), inputs.Folder(work=tmp_path)
    disk, place = Path("/it's 100% new/disk.img"), "file:///it%27s%20100%25%20new/disk.img"
    boot = inputs.first_boot(found, folder, disk=disk, key_file=tmp_path, nonce="", timeout_s=1)
    assert boot["disk"] == place
    assert inputs.installer(found, folder, iso=disk, iso_sha256="", timeout_s=1)["iso"] == place


def test_emulation_has_one_processor_that_it_can_be_trusted_with(tmp_path: Path) -> None:
    found = inputs.hardware(a_spec(tmp_path), "tcg")
    assert (found["cpus"], found["qemu_cpu"]) == (1, "max,-cx16")
    assert str(found["qemu_accel"]).startswith("tcg,")


def test_virtualization_has_what_the_specification_says(tmp_path: Path) -> None:
    found = inputs.hardware(a_spec(tmp_path), "kvm")
    assert (found["cpus"], found["qemu_cpu"], found["qemu_accel"]) == (2, "host", "kvm")
    assert found["memory_mib"] == 2048


def test_variables_hold_no_secret(tmp_path: Path) -> None:
    values = check.sample_values(a_spec(tmp_path), "ubuntu-24.04", tmp_path)
    text = inputs.write(values, tmp_path / "v.json").read_text()
    assert json.loads(text) == values
    assert "PRIVATE" not in text


def test_every_template_is_valid(tmp_path: Path) -> None:
    found = a_spec(tmp_path)
    check.validate(found, Workspace.of(found))


@pytest.mark.parametrize("name", ["debian-13", "ubuntu-24.04"])
@pytest.mark.parametrize("from_project", [True, False])
def test_a_person_can_validate_a_template_without_variables(
    tmp_path: Path, name: str, from_project: bool
) -> None:
    """By hand, from anywhere, with a Packer that has its builder built in."""
    if tool.version() >= tool.PLUGINS_SINCE:
        pytest.skip("this Packer wants its plugin declared")
    done = subprocess.run(
        ["packer", "validate", tool.TEMPLATES / name],
        cwd=tool.TEMPLATES.parent if from_project else tmp_path,
        env={**os.environ, "CHECKPOINT_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert list(tmp_path.iterdir()) == []


def test_both_systems_boot_first_in_the_same_way() -> None:
    for name in ("first-boot.pkr.hcl", "variables.pkr.hcl", "plugins.pkr.hcl.in"):
        one, other = (tool.TEMPLATES / folder / name for folder in ("debian-13", "ubuntu-24.04"))
        assert one.read_text() == other.read_text()


def test_the_installer_runs_under_uefi_and_the_first_boot_under_bios() -> None:
    install = (tool.TEMPLATES / "ubuntu-24.04/install.pkr.hcl").read_text()
    first_boot = (tool.TEMPLATES / "debian-13/first-boot.pkr.hcl").read_text()
    assert "pflash0=code" in install
    assert "pflash" not in first_boot


#: Options that Packer 1.6.6 has, and the plugin's 1.1.4, too.
#: Source: packer-plugin-qemu 1.1.4, builder/qemu/config.hcl2spec.go.
OPTIONS = """accelerator boot_wait cd_files cd_label communicator cpus disable_vnc disk_cache
    disk_discard disk_image disk_interface disk_size format headless iso_checksum iso_url memory
    output_directory qemuargs shutdown_command shutdown_timeout skip_compaction
    ssh_handshake_attempts ssh_private_key_file ssh_timeout ssh_username vm_name"""


@pytest.mark.parametrize("name", ["debian-13/first-boot", "ubuntu-24.04/install"])
def test_no_option_is_unknown_to_the_plugin_of_newer_packers(name: str) -> None:
    """Only an old Packer, which has the builder built in, validates templates here."""
    text = (tool.TEMPLATES / f"{name}.pkr.hcl").read_text()
    source = text[text.index("\nsource ") : text.index("\nbuild {")]
    used = set(re.findall(r"^  (\w+) += ", source, re.M))
    assert "qemuargs" in used
    assert used <= set(OPTIONS.split())


@pytest.mark.parametrize("name", ["debian-13", "ubuntu-24.04"])
def test_a_build_sets_every_variable_of_its_template(tmp_path: Path, name: str) -> None:
    """A default would hide a missing value."""
    texts = [path.read_text() for path in (tool.TEMPLATES / name).glob("*.pkr.hcl")]
    declared = {found for text in texts for found in re.findall(r'^variable "(\w+)"', text, re.M)}
    assert declared == set(check.sample_values(a_spec(tmp_path), name, tmp_path))


def test_a_template_that_does_not_validate_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "packer" / "debian-13"
    shutil.copytree(tool.TEMPLATES / "debian-13", broken)
    text = (broken / "first-boot.pkr.hcl").read_text().replace("disk_image ", "disk_imagine ")
    (broken / "first-boot.pkr.hcl").write_text(text)
    shutil.copy(tool.TEMPLATES / "prove.py", broken.parent)
    monkeypatch.setattr(tool, "TEMPLATES", broken.parent)
    found = a_spec(tmp_path)
    with pytest.raises(PackerError, match="packer/debian-13 is not valid") as caught:
        check.validate(found, Workspace.of(found))
    assert "disk_imagine" in caught.value.details
    assert "packer/debian-13/first-boot.pkr.hcl" in caught.value.details


def test_a_missing_packer_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Exception, match="program not found"):
        tool.version()


# The NoCloud seed.


def test_our_seed_is_right() -> None:
    assert seed.check_seed(render_user_data(build_seed(KEY))) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("#cloud-config", "# cloud-config", "first line"),
        ("users:", "user:", "user: Extra inputs"),
        ("lock_passwd: true", "lock_passwd: false", "lock_passwd: Input should be True"),
        ("lock_passwd: true", "lock_passwd: yes please", "lock_passwd"),
        ("lock_passwd: true", "lock_passwd: true\n  passwd: ''", "passwd: Extra inputs"),
        (KEY, "ssh-ed25519", "not a public key"),
        (KEY, "-----BEGIN OPENSSH PRIVATE KEY-----", "not a public key"),
        ("name: cube-build", "name: Cube Build", "name: String should match"),
        ("uid: 60600", "uid: '60600'", "uid: Input should be a valid integer"),
        ("shell: /bin/bash", "shell: bash", "shell: String should match"),
        ("users:", "users: [", "not valid YAML"),
    ],
)
def test_a_malformed_seed_is_told(old: str, new: str, expected: str) -> None:
    text = render_user_data(build_seed(KEY)).replace(old, new, 1)
    assert any(expected in problem for problem in seed.check_seed(text))


# Evidence: real disks, small.


def make_disk(disk: Path, *, marker: str, label: str = shape.ROOT_LABEL, at: int = 1) -> None:
    """Make a GPT disk whose only partition begins at 1 MiB, its file system at `at` MiB."""
    tree = disk.parent / "tree"
    (tree / "var/lib/cube").mkdir(parents=True)
    (tree / "var/lib/cube/base").write_text(f"{marker}\n")
    with disk.open("wb") as file:
        file.truncate(16 * MIB)
    subprocess.run(
        ["sfdisk", "--quiet", disk], input="label: gpt\nstart=1MiB\n", text=True, check=True
    )
    subprocess.run(
        [
            "mke2fs",
            "-q",
            "-F",
            "-t",
            "ext4",
            "-L",
            label,
            "-d",
            tree,
            "-E",
            f"offset={at * MIB}",
            disk,
            "8M",
        ],
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize("at", [1, 2], ids=["partition", "logical volume"])
def test_a_disk_with_this_builds_mark_is_believed(tmp_path: Path, at: int) -> None:
    make_disk(tmp_path / "d", marker="n0nce", at=at)
    evidence.check(tmp_path / "d", "n0nce")


def test_a_disk_of_another_build_is_not_believed(tmp_path: Path) -> None:
    make_disk(tmp_path / "d", marker="older")
    with pytest.raises(PackerError, match="'older', not this build's mark"):
        evidence.check(tmp_path / "d", "n0nce")


def test_a_disk_without_our_root_is_not_believed(tmp_path: Path) -> None:
    make_disk(tmp_path / "d", marker="n0nce", label="other")
    with pytest.raises(PackerError, match="no file system labelled cube-root"):
        evidence.check(tmp_path / "d", "n0nce")


def test_a_disk_that_was_not_unmounted_is_not_believed(tmp_path: Path) -> None:
    disk = tmp_path / "d"
    make_disk(disk, marker="n0nce")
    subprocess.run(
        ["debugfs", "-w", "-R", "ssv state 0", f"{disk}?offset={MIB}"],
        check=True,
        capture_output=True,
    )
    with pytest.raises(PackerError, match="not unmounted"):
        evidence.check(disk, "n0nce")


def test_an_empty_disk_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "d").write_bytes(bytes(MIB))
    with pytest.raises(PackerError, match="no partition table"):
        evidence.check(tmp_path / "d", "n0nce")


def test_a_missing_disk_is_not_believed(tmp_path: Path) -> None:
    with pytest.raises(PackerError, match="there is no disk"):
        evidence.check(tmp_path / "d", "n0nce")


def test_the_plugins_are_fetched_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: dict[str, dict[str, str]] = {}

    def stream(argv: list[str], *, env: dict[str, str], **_: object) -> int:
        asked[argv[argv.index("-machine-readable") + 1]] = env
        return 0

    monkeypatch.setattr(run, "stream", stream)
    monkeypatch.setattr(tool, "version", lambda: (1, 11, 0))
    text = '[network]\nproxy = "http://proxy:3128"\n'
    wanted = config.load_text(text, tmp_path / "cube.toml")
    check.validate_template(wanted, Workspace.of(wanted), "debian-13")
    assert asked["init"]["https_proxy"] == "http://proxy:3128"
    assert "https_proxy" not in asked["validate"]
