"""The part of stage 1 that looks at the templates: nothing is downloaded or started."""

import tempfile
from pathlib import Path

from cube.baseimage.packer import inputs, seed, tool
from cube.config import Spec, proxy_environment
from cube.config.workspace import Workspace
from cube.machines import ssh
from cube.machines.seed import build_seed, render_user_data
from cube.runtime.errors import PackerError

#: A key in the right form. It opens nothing.
SAMPLE_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI sample"


def validate(spec: Spec, workspace: Workspace) -> None:
    """Let Packer look at every template, and look at the seed of the first boot.

    Raises:
        PackerError: a template or the seed is wrong; what is, is in the details.
        HostError: Packer is too old.
        CommandError: Packer is missing.
    """
    if problems := seed.check_seed(render_user_data(build_seed(SAMPLE_KEY))):
        raise PackerError("the first boot's seed is malformed", details="\n".join(problems))
    for name in sorted(folder.name for folder in tool.TEMPLATES.iterdir() if folder.is_dir()):
        validate_template(spec, workspace, name)


def validate_template(spec: Spec, workspace: Workspace, name: str) -> None:
    """Let Packer look at one template, with inputs that only look real.

    Raises:
        PackerError: the template is wrong.
    """
    found = tool.version()
    with tempfile.TemporaryDirectory(prefix="cube-validate-") as scratch:
        work = Path(scratch)
        variables = inputs.write(sample_values(spec, name, work), work / "variables.json")
        with tool.staged(name, work, found) as staged:
            tool.init(
                staged,
                work=work,
                cache=workspace.cache,
                found=found,
                env=proxy_environment(spec),
            )
            try:
                tool.call(
                    ["validate", f"-var-file={variables}", staged],
                    work=work,
                    cache=workspace.cache,
                    timeout_s=tool.SHORT_S,
                )
            except PackerError as error:
                raise PackerError(
                    f"the template packer/{name} is not valid",
                    hint="fix what Packer reports below",
                    details=error.details.replace(f"{staged}/", f"packer/{name}/"),
                ) from error


def sample_values(spec: Spec, name: str, work: Path) -> inputs.Inputs:
    """Return every variable of a template, with files in `work` where Packer wants to see some."""
    folder = inputs.Folder(work=work)
    nocloud = build_seed(SAMPLE_KEY)
    for seed_dir in (folder.seed, folder.install_seed):
        seed.write(seed_dir, render_user_data(nocloud), nocloud)
    disk, key = work / "disk.img", work / "key"
    disk.touch()
    ssh.make_key(key)
    values = inputs.hardware(spec, "tcg") | inputs.first_boot(
        spec, folder, disk=disk, key_file=key, nonce="sample", timeout_s=1
    )
    if name == "ubuntu-24.04":
        values |= inputs.installer(spec, folder, iso=disk, iso_sha256="0" * 64, timeout_s=1)
    return values
