"""What containerd is told."""

from dataclasses import dataclass

from pyinfra.api import FactBase

CONFIG = "/etc/containerd/config.toml"
#: Parts what dpkg knows of the file from the file itself.
MARK = "--cube--"
#: Stands for Kubernetes' agent in the fact's output.
KUBELET = "kubelet"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Text of the file, whether it is as its package brought it, and whether Kubernetes is there.

    Without a file, no text.
    """

    text: str = ""
    of_package: bool = False
    kubernetes: bool = False


class ContainerdConfig(FactBase[Config]):
    """containerd's settings, and whose they are."""

    def command(self) -> str:
        """Print the file's digest, those of its package, and the file.

        Source: dpkg-query(1), Conffiles: a name and the MD5 of what the package brought.
        """
        return (
            f"if command -v kubelet >/dev/null; then echo {KUBELET}; fi;"
            f" if test -f {CONFIG}; then md5sum < {CONFIG} | cut -c 1-32;"
            " dpkg-query --show --showformat '${Conffiles}\\n' containerd containerd.io 2>/dev/null"
            f" | sed -n 's#^ {CONFIG} ##p'; echo {MARK}; cat {CONFIG}; fi"
        )

    @staticmethod
    def default() -> Config:
        """Return that there is no file."""
        return Config()

    def process(self, output: list[str]) -> Config:
        """Compare the digests."""
        kubernetes = output[:1] == [KUBELET]
        output = output[kubernetes:]
        if not output:
            return Config(kubernetes=kubernetes)
        at = output.index(MARK)
        digest, *known = output[:at]
        text = "\n".join(output[at + 1 :])
        of_package = digest in {line.split()[0] for line in known}
        return Config(text=f"{text}\n", of_package=of_package, kubernetes=kubernetes)
