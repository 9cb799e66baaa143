from pathlib import Path

from bench import seal
from cube.runtime import run
from cube.seal import sealing


def test_ours_is_what_the_seal_does_and_the_peer_the_specifications_words(tmp_path: Path) -> None:
    source, sealed, target = (tmp_path / name for name in ("disk", "sealed", "target"))
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", source, "64M"])
    run.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 8M 5M", source])
    sealing.flatten(source, sealed)
    seal.write(seal.CHECKED, source, tmp_path / "raw", target)
    assert target.read_bytes() == sealed.read_bytes()
    words = ["qemu-img", "convert", "-O", "qcow2", "-c", "SOURCE", "TARGET"]
    assert seal.VARIANTS[seal.SPECIFICATION] == words
    assert seal.select("64") == ["specification", "zstd, 64 KiB", "seal"]
