"""Where apt's packages come from."""

from pyinfra.api import FactBase

#: Stands before each file, with its name.
MARK = "--cube-- "


class Sources(FactBase[dict[str, str]]):
    """The text of apt's own files of sources, by their names below /etc/apt."""

    def command(self) -> str:
        """Print each file; what a build adds is in another folder."""
        return (
            "cd /etc/apt && for file in sources.list sources.list.d/*.list"
            f' sources.list.d/*.sources; do if test -f "$file"; then echo "{MARK}$file";'
            ' cat "$file"; echo; fi; done'
        )

    @staticmethod
    def default() -> dict[str, str]:
        """Return no file."""
        return {}

    def process(self, output: list[str]) -> dict[str, str]:
        """Part the files."""
        files: dict[str, list[str]] = {}
        for line in output:
            if line.startswith(MARK):
                files[line.removeprefix(MARK)] = lines = []
            else:
                lines.append(line)
        return {name: "\n".join(text).rstrip("\n") + "\n" for name, text in files.items()}
