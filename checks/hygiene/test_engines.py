"""Docker and containerd know nothing of what ran on the machine of the build."""

import pytest

from checks.hygiene.tree import Tree

#: What an engine keeps of containers, networks, builds and volumes.
STATE = (
    "var/lib/docker/containers/*", "var/lib/docker/network/files/*", "var/lib/docker/buildkit/*",
    "var/lib/docker/volumes/*", "var/lib/docker/swarm/*", "var/lib/docker/engine-id",
    "var/lib/containerd/io.containerd.runtime.v2.task/*/*",
)  # fmt: skip


@pytest.mark.parametrize("pattern", STATE)
def test_no_engine_keeps_state_at(image: Tree, pattern: str) -> None:
    assert image.find(pattern) == []
