"""A registry that hands out one image, made by the tests' own hands; a machine serves it to itself.

Docker asks for no certificate on loopback. Source: docs.docker.com, "dockerd", insecure registries.
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path

#: Source: distribution, "Image Manifest Version 2, Schema 2".
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar"

#: Serves a folder as the API of a registry asks for it: pulling is files alone.
#: Source: OCI distribution specification, "Pulling manifests", "Pulling blobs".
SERVER = f"""
import http.server, sys

class Registry(http.server.SimpleHTTPRequestHandler):
    def guess_type(self, path):
        return "{MANIFEST}" if "/manifests/" in str(path) else "application/octet-stream"

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Registry).serve_forever()
"""


def publish(folder: Path, name: str) -> str:
    """Write an image and the server, `server.py`, into a folder.

    Args:
        folder: is made.
        name: of the image.

    Returns:
        The digest of its manifest, "sha256:...".
    """
    place = folder / "v2" / name
    for kind in ("manifests", "blobs"):
        (place / kind).mkdir(parents=True)
    (folder / "server.py").write_text(SERVER)
    layer = pack({"etc/proof": b"pulled\n"})
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        }
    ).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": describe(config, CONFIG),
        "layers": [describe(layer, LAYER)],
    }
    for blob in (layer, config):
        (place / "blobs" / digest(blob)).write_bytes(blob)
    told = json.dumps(manifest).encode()
    (place / "manifests" / digest(told)).write_bytes(told)
    return digest(told)


def forge(folder: Path, name: str, genuine: str) -> str:
    """Hand out an image's manifest under a digest that it does not have; return that digest."""
    wrong = "sha256:" + "0" * 64
    manifests = folder / "v2" / name / "manifests"
    (manifests / wrong).write_bytes((manifests / genuine).read_bytes())
    return wrong


def pack(files: dict[str, bytes]) -> bytes:
    """Return an archive of files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def describe(content: bytes, kind: str) -> dict[str, object]:
    """Return what a manifest says of a blob."""
    return {"mediaType": kind, "size": len(content), "digest": digest(content)}


def digest(content: bytes) -> str:
    """Return "sha256:..."."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
