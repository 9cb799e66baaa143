"""Signatures by an SSH key over a file. Source: ssh-keygen(1), -Y."""

import tempfile
from pathlib import Path

from cube import run
from cube.errors import CommandError, PassportError

#: Keeps our signatures from being taken for one over something else, as over a Git commit.
NAMESPACE = "vault-cube-passport"
#: Name of the signer where only a public key is known.
SIGNER = "signer"


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
            f"{key}: does not sign: {error.output or error.message}",
            hint="name a private key without a passphrase, or a public one that your agent holds",
        ) from error
    return signature


def verify(document: Path, *, public_key: Path | None, signers: Path | None) -> str:
    """Tell who signed a file.

    Args:
        document: what was signed.
        public_key: the one key that is trusted, or None.
        signers: a file of allowed signers, or None. Source: ssh-keygen(1), ALLOWED SIGNERS

    Returns:
        Who signed it, by name and key.

    Raises:
        PassportError: there is no signature, it is not over this text, or not by a trusted key.
    """
    signature = file_of(document)
    for path in (document, signature):
        if not path.is_file():
            raise PassportError(f"there is no {path}", hint="name the passport's JSON file;"
                                " its signature is beside it")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="cube-signers-") as folder:
        allowed = signers or allow(Path(folder) / "signers", public_key)
        name = principal(signature, allowed)
        argv: list[str | Path] = [
            "ssh-keygen", "-Y", "verify", "-n", NAMESPACE, "-I", name, "-f", allowed,
            "-s", signature,
        ]  # fmt: skip
        done = run.run(argv, stdin=document.read_text(), accept=range(256))
    if done.returncode:
        raise PassportError(
            f"{document}: it is not what {name} signed: {run.tail(done.stdout + done.stderr, 1)}",
            hint="it was changed after it was signed: get it again from where it was made",
        )
    return done.stdout.strip()


def allow(file: Path, public_key: Path | None) -> Path:
    """Write a file of allowed signers with one key.

    Raises:
        PassportError: no key is named, or it cannot be read.
    """
    if public_key is None:
        raise PassportError("whose signature is trusted?",
                            hint="--key FILE.pub, or --signers FILE")  # fmt: skip
    try:
        file.write_text(f"{SIGNER} {public_key.read_text()}")
    except OSError as error:
        raise PassportError(f"{public_key}: {error.strerror}") from error
    return file


def principal(signature: Path, allowed: Path) -> str:
    """Return the name under which a signature's key is trusted.

    Raises:
        PassportError: it is not, or what should be a signature is none.
    """
    argv: list[str | Path] = ["ssh-keygen", "-Y", "find-principals", "-s", signature, "-f", allowed]
    done = run.run(argv, accept=range(256))
    names = done.stdout.split()
    if done.returncode or not names:
        raise PassportError(
            f"{signature}: not by a key that is trusted"
            f" ({run.tail(done.stderr, 1) or 'no name fits'})",
            hint="ask whoever made the passport for the public key, and add it to the signers",
        )
    return names[0]
