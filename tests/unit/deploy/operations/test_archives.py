"""Archives of others: what apt reads of them."""

import pytest

from deploy.operations.archives import Archive

FLAT = Archive(
    owner="NVIDIA", stem="nvidia-cuda", key_url="https://example.org/repos/key.pub",
    fingerprint="A" * 40, url="https://example.org/repos/",
)  # fmt: skip
SUITES = Archive(
    owner="Docker", stem="docker", key_url="https://example.org/gpg", fingerprint="B" * 40,
    url="https://example.org/debian", suite="trixie", components="stable",
)  # fmt: skip


@pytest.mark.parametrize(
    ("archive", "lines"),
    [
        (FLAT, ["URIs: https://example.org/repos/", "Suites: /"]),
        (SUITES, ["URIs: https://example.org/debian", "Suites: trixie", "Components: stable"]),
    ],
)
def test_a_source_is_signed_by_the_key_that_was_fetched(archive: Archive, lines: list[str]) -> None:
    assert archive.render_source().splitlines() == [
        "Types: deb",
        *lines,
        "Architectures: amd64",
        f"Signed-By: {archive.keyring}",
    ]
    assert archive.keyring == f"/etc/apt/keyrings/{archive.stem}.asc"
