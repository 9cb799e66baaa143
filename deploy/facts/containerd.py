"""What containerd is told."""

from dataclasses import dataclass

from pyinfra.api import FactBase

CONFIG = "/etc/containerd/config.toml"
#: Parts what dpkg knows of the file from the file itself.
MARK = "--cube--"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Text of the file, and whether it is as its package brought it; without a file, no text."""

    text: str = ""
    of_package: bool = False


class ContainerdConfig(FactBase[Config]):
    """containerd's settings, and whose they are."""

    def command(self) -> str:
        """Print the file's digest, those of its package, and the file.

        Source: dpkg-query(1), Conffiles: a name and the MD5 of what the package brought.
        """
        return (
            f"if test -f {CONFIG}; then md5sum < {CONFIG} | cut -c 1-32;"
            " dpkg-query --show --showformat '${Conffiles}\\n' containerd containerd.io 2>/dev/null"
            f" | sed -n 's#^ {CONFIG} ##p'; echo {MARK}; cat {CONFIG}; fi"
        )

    @staticmethod
    def default() -> Config:
        """Return that there is no file."""
        return Config()

    def process(self, output: list[str]) -> Config:
        """Compare the digests."""
        at = output.index(MARK)
        digest, *known = output[:at]
        text = "\n".join(output[at + 1 :])
        return Config(text=f"{text}\n", of_package=digest in {line.split()[0] for line in known})
