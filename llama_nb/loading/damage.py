"""What a file is that is not what its name says: a web page, a Git LFS pointer, a pickle, nothing at all.

Looks at the first bytes only. Used for weights and for the JSON files beside them.
"""

import re
from pathlib import Path
from typing import Final

from llama_nb.core.errors import LoadError

_HEAD_BYTES: Final = 1024
_LFS: Final = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v\d.*?^size (\d+)", re.DOTALL | re.MULTILINE
)


def first_bytes(path: Path) -> bytes:
    """Return the beginning of a regular file; LoadError when it cannot be read or is none."""
    if not path.is_file():
        raise LoadError(f"{path.name} is not a file.", f"Look at {path.parent}.")
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError as error:
        raise LoadError(
            f"{path.name} cannot be read: {error.strerror or error}.", f"Check the rights of {path}."
        ) from None


def refuse_impostor(path: Path, head: bytes) -> None:
    """Raise LoadError when `head`, the beginning of `path`, belongs to something else than data.

    Recognised are an empty file, a web page, an error page, a Git LFS pointer, a pickle and a GGUF.
    """
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        raise LoadError(f"{path.name} is empty (0 bytes): the download did not start.", "Download it again.")
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<body")):
        raise LoadError(
            f"{path.name} is a web page: the download needed a log-in or an accepted licence.",
            "Accept the licence on the model's page, log in with `%llama login` (or `hf auth login`), then "
            "download it again.",
        )
    if text.startswith((b"<?xml", b"<error")):
        raise LoadError(
            f"{path.name} is a server's error message (XML), not data: {_quote(head)}",
            "Download it again; the link may have expired.",
        )
    if pointer := _LFS.match(head):
        size = int(pointer.group(1))
        raise LoadError(
            f"{path.name} is a Git LFS pointer to a {size:,}-byte file: the file itself was not fetched.",
            f"Run `git lfs pull` in {path.parent}",
        )
    # A header of 640 bytes makes a sound file begin with 80 02, as pickles do: what follows tells them apart.
    if path.suffix == ".safetensors" and head[8:9] != b"{":
        _refuse_other_weights(path, head)


def _refuse_other_weights(path: Path, head: bytes) -> None:
    if head.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x04", b"\x80\x05")):
        raise LoadError(
            f"{path.name} is a pickle under another name. Pickles can run code and are not read.",
            "Get the model in safetensors format.",
        )
    if head.startswith(b"GGUF"):
        raise LoadError(
            f"{path.name} is a GGUF file under another name.", "Get the model in safetensors format."
        )
    if text_like(head):
        raise LoadError(
            f"{path.name} is a text, not safetensors data: it begins with {_quote(head)}",
            "It may be a server's error message. Download it again.",
        )


def text_like(head: bytes) -> bool:
    """Whether `head` looks like plain text."""
    return bool(head) and all(byte in b"\t\r\n" or byte >= 32 for byte in head) and _decodes(head)


def _decodes(head: bytes) -> bool:
    try:
        head[:-4].decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 8
    return True


def _quote(head: bytes) -> str:
    text = " ".join(head.decode("utf-8", "replace").split())
    printable = "".join(character for character in text if character.isprintable())
    return repr(printable[:80])
