"""Signatures by an SSH key over a file. Source: ssh-keygen(1), -Y."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from cube.config import ssh_keys
from cube.runtime import run
from cube.runtime.errors import CommandError, PassportError

#: Keeps our signatures from being taken for one over something else, as over a Git commit.
NAMESPACE = "vault-cube-passport"
#: Name of the signer where only a public key is known.
SIGNER = "signer"
#: ssh-keygen tells by its words, and by more than one exit code, that something does not fit.
ANY_CODE = range(256)
AGAIN = "get it again from where it was made, with its signature beside it"


def file_of(document: Path) -> Path:
    """Return where a document's signature is."""
    return document.with_name(f"{document.name}.sig")


def sign(document: Path, key: Path) -> Path:
    """Sign a file.

    Args:
        document: what is signed.
        key: a private key, or the public half of one that the agent holds.

    Returns:
        The signature's file, beside the document.

    Raises:
        PassportError: the key does not sign.
    """
    signature = file_of(document)
    signature.unlink(missing_ok=True)
    try:
        run.run(["ssh-keygen", "-Y", "sign", "-q", "-n", NAMESPACE, "-f", key, document])
    except CommandError as error:
        raise PassportError(
            f"{key}: does not sign: {run.tail(error.output, 1) or error.message}",
            hint="name a private key without a passphrase, or a public one that your agent holds",
        ) from error
    return signature


def try_key(key: Path) -> None:
    """Sign something with a key, to see whether it will sign at the end.

    Raises:
        PassportError: there is no such key, or it does not sign.
    """
    if not key.is_file():
        told = f"{key} is a folder, no key" if key.is_dir() else f"there is no key {key}"
        raise PassportError(told, hint="make one: ssh-keygen -t ed25519")
    with tempfile.TemporaryDirectory(prefix="cube-sign-") as folder:
        document = Path(folder) / "trial"
        document.write_bytes(b"")
        sign(document, key)


def verify(document: Path, *, public_key: Path | None, signers: Path | None) -> str:
    """Tell who signed a file.

    Args:
        document: what was signed, byte by byte.
        public_key: the one key that is trusted, or None.
        signers: a file of allowed signers, or None. Source: ssh-keygen(1), ALLOWED SIGNERS

    Returns:
        Who signed it, by name and key.

    Raises:
        PassportError: there is no signature, it is not over these bytes, or not by a trusted key.
    """
    hint = "name the passport's JSON file; its signature is beside it"
    require_file(document, hint)
    signature = file_of(document)
    require_file(signature, hint)
    with tempfile.TemporaryDirectory(prefix="cube-signers-") as folder:
        named = list(candidates(trusted_lines(public_key, signers), signature, Path(folder)))
        for name, line in named:
            if said := accepted(document, signature, name, line):
                return said
    raise refusal(document, signature, [name for name, _ in named])


def require_file(path: Path, hint: str) -> None:
    """Refuse a path that leads to no file.

    Raises:
        PassportError: it does not.
    """
    if path.is_dir():
        raise PassportError(f"{path} is a folder", hint=hint)
    if not path.is_file():
        raise PassportError(f"there is no {path}", hint=hint)


def trusted_lines(public_key: Path | None, signers: Path | None) -> list[str]:
    """Return the lines of allowed signers, of which each may let a signature pass.

    Raises:
        PassportError: no key is named, or it cannot be read.
    """
    if signers is not None:
        require_file(signers, "name a file of allowed signers; ssh-keygen(1) says what is in it")
        text = read_text(signers)
        lines = [line.strip() for line in text.splitlines()]
        return [line for line in lines if line and not line.startswith("#")]
    if public_key is None:
        raise PassportError("no trusted signer was named", hint="--key FILE.pub, or --signers FILE")
    require_file(public_key, "name the public key, whose file ends in .pub")
    try:
        return [f"{SIGNER} {ssh_keys.read_file(public_key)}"]
    except ValueError as error:
        raise PassportError(
            str(error), hint="name the public key of who signed, whose file ends in .pub"
        ) from error


def read_text(path: Path) -> str:
    """Return a file's text.

    Raises:
        PassportError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise PassportError(
            f"{path}: cannot be read: {error.strerror}", hint="name another file"
        ) from error


def candidates(lines: list[str], signature: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the names under which a signature's key is trusted, each with a file of its one line.

    ssh-keygen looks at the first line with the key only, whatever that line allows, so each
    line is asked by itself.
    """
    for number, line in enumerate(lines):
        file = folder / f"line-{number}"
        file.write_text(f"{line}\n", encoding="utf-8")
        argv: list[str | Path] = [
            "ssh-keygen",
            "-Y",
            "find-principals",
            "-s",
            signature,
            "-f",
            file,
        ]
        done = run.run(argv, accept=ANY_CODE)
        for name in done.stdout.splitlines() if done.returncode == 0 else []:
            if name and not name.startswith("!"):
                yield name, file


def accepted(document: Path, signature: Path, name: str, signers: Path) -> str:
    """Return what ssh-keygen says of a signature that a line accepts; empty when it does not."""
    argv: list[str | Path] = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-n",
        NAMESPACE,
        "-I",
        name,
        "-f",
        signers,
        "-s",
        signature,
    ]
    done = run.run(argv, stdin_file=document, accept=ANY_CODE)
    return done.stdout.strip() if done.returncode == 0 else ""


def refusal(document: Path, signature: Path, names: list[str]) -> PassportError:
    """Say why no line accepts a signature."""
    argv: list[str | Path] = [
        "ssh-keygen",
        "-Y",
        "check-novalidate",
        "-n",
        NAMESPACE,
        "-s",
        signature,
    ]
    done = run.run(argv, stdin_file=document, accept=ANY_CODE)
    whole = done.returncode == 0
    said = run.tail(done.stdout + done.stderr, 1)
    if not names:
        reason = "no line that counts today has its key" if whole else said
        return PassportError(
            f"{signature}: not by a key that is trusted ({reason})",
            hint="ask whoever made the passport for the public key, and add it to the signers",
        )
    if whole:
        return PassportError(
            f"{document}: its signer {names[0]} is not trusted for passports, or not today",
            hint=f'write namespaces="{NAMESPACE}" in the line of {names[0]}',
        )
    return PassportError(f"{document}: it is not what {names[0]} signed: {said}", hint=AGAIN)
