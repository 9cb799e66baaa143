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


class Codenames(FactBase[dict[str, str]]):
    """The codename of each suite as it is written in the sources: "stable" is "trixie"."""

    def command(self, folder: str = "/etc/apt") -> str:
        """Print both, as far as lists were fetched. Source: apt-get(8), indextargets."""
        return (
            f"apt-get indextargets {reads_from(folder)}"
            " --format '$(RELEASE) $(CODENAME)' 'Identifier: Packages' 2>/dev/null | sort -u"
        )

    @staticmethod
    def default() -> dict[str, str]:
        """Return none."""
        return {}

    def process(self, output: list[str]) -> dict[str, str]:
        """Read the pairs; a suite without lists has no second word."""
        rows = [line.split() for line in output]
        return {suite: codename for suite, *rest in rows for codename in rest}


def reads_from(folder: str) -> str:
    """Return the options that let apt read its sources in a folder. Source: apt.conf(5), Dir."""
    return (
        f"-o Dir::Etc::SourceList={folder}/sources.list"
        f" -o Dir::Etc::SourceParts={folder}/sources.list.d"
    )
