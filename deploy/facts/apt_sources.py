"""Where apt's packages come from."""

from pyinfra.api import FactBase

#: Stands before each file, with its name.
MARK = "--cube-- "


class Sources(FactBase[dict[str, str]]):
    """The text of apt's files of sources, by their names below their folder."""

    def command(self, folder: str = "/etc/apt") -> str:
        """Print each file.

        Args:
            folder: apt's own; what a build adds is in another.
        """
        return (
            f"if cd {folder} 2>/dev/null; then for file in sources.list sources.list.d/*.list"
            f' sources.list.d/*.sources; do if test -f "$file"; then echo "{MARK}$file";'
            ' cat "$file"; echo; fi; done; fi'
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
