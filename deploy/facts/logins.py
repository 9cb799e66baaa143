"""The keys that may log in, where sshd looks for them."""

import re
from dataclasses import dataclass
from shlex import quote

from pyinfra.api import FactBase

#: A line of authorized_keys: options, whose quotes hold blanks, the key's type, the key.
#: Source: sshd(8), "AUTHORIZED_KEYS FILE FORMAT"; OpenSSH, auth2-pubkeyfile.c, misc.c skip_options
KEY_LINE = re.compile(
    r"""[ \t]*
    (?:(?P<options>(?:[^\s"#]|"(?:\\"|[^"])*")(?:[^\s"]|"(?:\\"|[^"])*")*)[ \t]+)?
    (?P<type>(?:ssh|ecdsa|sk)-[A-Za-z0-9@.+-]+)[ \t]+(?P<key>[A-Za-z0-9+/]+=*)(?:\s|$)""",
    re.VERBOSE,
)
QUOTED = re.compile(r'"(?:\\"|[^"])*"')
#: Option of a key that signs the keys of others, and lets nobody in itself.
AUTHORITY = re.compile(r"(?:^|,)cert-authority(?:,|$)", re.IGNORECASE)
#: A shell function: the patterns of the files with the keys of an account, as sshd is set.
PATTERNS = r"""
patterns() {
    mkdir -p /run/sshd 2>/dev/null
    found=$(sshd -T -C "user=$1,host=localhost,addr=127.0.0.1" 2>/dev/null |
        sed -n 's/^authorizedkeysfile //p')
    echo "${found:-.ssh/authorized_keys}"
}
"""
#: The names that patterns have for an account: PATTERNS USER UID HOME, a line for each.
#: Source: sshd_config(5), AuthorizedKeysFile, TOKENS; a name that is not absolute is in the home.
NAMES = r"""
names() {
    set -f
    for pattern in $1; do
        name=$(printf '%s\n' "$pattern" | awk -v user="$2" -v number="$3" -v home="$4" '{
            while (i = index($0, "%")) {
                token = substr($0, i + 1, 1)
                value = token == "u" ? user : token == "U" ? number : token == "h" ? home : token
                printf "%s%s", substr($0, 1, i - 1), value
                $0 = substr($0, i + 2)
            }
            print
        }')
        case $name in
            none) ;;
            /*) echo "$name" ;;
            *) echo "$4/$name" ;;
        esac
    done
}
"""


@dataclass(frozen=True, kw_only=True)
class LoginKeys:
    """Keys that log in to an account.

    Args:
        files: where sshd looks for them, absolute; none where there is no such account yet.
        keys: type and base64, without options and comments. A key that its owner has restricted
            (``from=``, ``command=``) is one of them.
        known: whether the account exists.
    """

    files: tuple[str, ...] = ()
    keys: frozenset[str] = frozenset()
    known: bool = False


class AuthorizedKeys(FactBase[LoginKeys]):
    """What lets an account log in."""

    def command(self, user: str) -> str:
        """Print a line for the account, and the files, each with its lines after it."""
        return (
            f"{PATTERNS}{NAMES}"
            f"entry=$(getent passwd {quote(user)}) || exit 0; echo account;"
            f' names "$(patterns {quote(user)})" {quote(user)} "$(echo "$entry" | cut -d: -f3)"'
            ' "$(echo "$entry" | cut -d: -f6)" | while read -r file; do'
            # The second script ends a last line that has no end.
            ' echo "file $file"; sed -e "s/^/line /" -e "\\$a\\\\" "$file" 2>/dev/null; done; true'
        )

    @staticmethod
    def default() -> LoginKeys:
        """Return no key."""
        return LoginKeys()

    def process(self, output: list[str]) -> LoginKeys:
        """Read each line as sshd does."""
        rows = [line.partition(" ") for line in output]
        keys = (bare_key(text) for kind, _, text in rows if kind == "line")
        return LoginKeys(
            files=tuple(text for kind, _, text in rows if kind == "file"),
            keys=frozenset(filter(None, keys)),
            known="account" in output,
        )


def bare_key(line: str) -> str:
    """Return type and base64 of the key that a line lets in; empty for a comment."""
    found = KEY_LINE.match(line)
    if not found or AUTHORITY.search(QUOTED.sub("", found["options"] or "")):
        return ""
    return f"{found['type']} {found['key']}"


class ShortRsaKeys(FactBase[dict[str, int]]):
    """RSA keys that may log in and are shorter than wanted: whose they are, and their bits."""

    def command(self, bits: int) -> str:
        """Measure the keys in the files of every account. Source: ssh-keygen(1), -l."""
        self.bits = bits
        return (
            f"{PATTERNS}{NAMES}"
            "all=$(patterns root); getent passwd | while IFS=: read -r user _ number _ _ home _; do"
            ' names "$all" "$user" "$number" "$home"; done | sort -u | while read -r file; do'
            ' test -f "$file" || continue;'
            r' ssh-keygen -l -f "$file" 2>/dev/null | sed "s#\$# $file#"; done'
        )

    @staticmethod
    def default() -> dict[str, int]:
        """Return none."""
        return {}

    def process(self, output: list[str]) -> dict[str, int]:
        """Keep those that are too short: "2048 SHA256:... comment (RSA) /home/ada/..."."""
        rows = [line.split() for line in output if "(RSA)" in line.split()]
        return {f"{row[-1]} {row[1]}": int(row[0]) for row in rows if int(row[0]) < self.bits}
