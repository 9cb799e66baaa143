"""What a lock names."""

from pathlib import Path

from cube.supply.wheel_index.locks import wanted

A, B, C = "a" * 64, "b" * 64, "c" * 64
LOCK = f"""# --hash=sha256:nothing
Some_Package[extra]==1.0 ; python_version < '3.14' \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
    # via numpy==2
uv==0.13.9 --hash=sha256:{C}
"""


def test_every_hash_belongs_to_its_package(tmp_path: Path) -> None:
    (tmp_path / "lock.txt").write_text(LOCK)
    (tmp_path / "more.txt").write_text(f"uv==0.13.9 --hash=sha256:{A}\n")
    found = wanted([tmp_path / "lock.txt", tmp_path / "gone.txt", tmp_path / "more.txt"])
    assert found == {"some-package": {A, B}, "uv": {A, C}}
