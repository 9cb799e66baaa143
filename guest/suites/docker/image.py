"""The image of the containers: one that is given, one that is there, or one of links.

The image of links is an empty one: the box's own /usr, lent to the container, is its system.
"""

import os
import tarfile
from pathlib import Path

from guest.suites.docker.client import Docker
from guest.suites.report import Report

LINKS = ("bin", "sbin", "lib", "lib64")


def choose_image(report: Report, docker: Docker, given: str | None) -> None:
    """Take the image that is given, or one of CUDA that is there, or make one.

    Raises:
        Stop: the image is not there, or cannot be made.
    """
    if given:
        docker.image = given
        found = docker.ask("image", "inspect", "--format", "{{.Id}}", given)
        hint = f"{given} is not on this box: docker pull {given}"
        told = f"{given}, {found.first[:19]}"
        report.require("image", good=found.code == 0, detail=told if found.code == 0 else hint)
        return
    listed = docker.ask("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "nvidia/cuda").text
    local = [line for line in listed.splitlines() if not line.endswith(":<none>")]
    if local:
        docker.image = local[0]
        report.record("image", good=True, detail=f"{docker.image}, found on this box")
        return
    docker.image = f"cube-suite-{os.getpid()}"
    made = docker.lend_usr()
    if made.code == 0:
        assert docker.layer
        archive = docker.layer / "links.tar"
        make_archive(archive)
        made = docker.ask("import", str(archive), docker.image)
    told = "made of links into the box's own /usr"
    report.require("image", good=made.code == 0, detail=told if made.code == 0 else made.explain())


def make_archive(path: Path) -> None:
    """Write the archive of an image of links."""
    with tarfile.open(path, mode="w") as archive:
        for folder in ("usr", "etc", "tmp", "proc", "sys", "dev", "opt"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            archive.addfile(entry)
        for link in LINKS:
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{link}"
            archive.addfile(entry)
