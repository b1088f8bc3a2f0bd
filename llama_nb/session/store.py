"""Chats on disk: one JSON line a message, appended and synced, beside the notebook.

A file is only ever appended to, a whole line at a time, so that a power cut costs the last line and two
kernels can write the same file. Reading them back is `session/restore.py`'s business.
"""

import contextlib
import errno
import json
import os
import threading
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from llama_nb.core.events import Note, publish
from llama_nb.runtime import settings
from llama_nb.runtime.environment import detect, notebook_path
from llama_nb.session.chat import Chat, Node

SCHEMA: Final = 1
FOLDER: Final = ".llama-nb"


class ChatFiles:
    """Writes what happens to chats into their files, where somebody watches or asked for it.

    Parameters
    ----------
    folder
        Where the files go; default `chat_folder()`, asked for at each message.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._warned = False

    def message(self, chat: Chat, node: Node) -> None:
        """Append a message."""
        asked = [{"name": call.name, "arguments": dict(call.arguments)} for call in node.message.tool_calls]
        self._append(
            chat,
            {
                "type": "message",
                "id": node.id,
                "parent": node.parent,
                "role": node.message.role,
                "text": node.message.content,
                "system": node.system,
                "reply": node.reply,
                "head": chat.head,
                **({"tool_calls": asked} if asked else {}),
            },
        )

    def head(self, chat: Chat) -> None:
        """Append where the conversation ends now."""
        self._append(chat, {"type": "head", "head": chat.head})

    def file(self, chat: Chat) -> Path:
        """Return the chat's file, which may not exist."""
        return (self._folder or chat_folder()) / f"{_file_name(chat.name)}.jsonl"

    def delete(self, chat: Chat) -> None:
        """Remove the chat's file."""
        with contextlib.suppress(OSError):
            self.file(chat).unlink()

    def _append(self, chat: Chat, event: dict[str, Any]) -> None:
        if self._folder is None and not keeps_chats():
            return
        record = {"schema": SCHEMA, "session": chat.session, "chat": chat.name, **event}
        line = json.dumps(record, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n"
        try:
            with self._lock:
                append_line(self.file(chat), line)
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            reason = error.strerror or type(error).__name__
            publish(Note(f"This chat cannot be kept on disk ({reason}); it goes on in memory only."))


def keeps_chats() -> bool:
    """Return whether chats are kept on disk here: as the settings say, else where a person works."""
    chosen = settings.chats_on_disk()
    return detect().watched if chosen is None else chosen


def chat_folder() -> Path:
    """Return the folder of this notebook's chats: `.llama-nb/chats/<notebook>` beside the notebook.

    Outside of a notebook it lies in the working folder and is called after the kind of session.
    """
    notebook = notebook_path()
    if notebook is not None:
        return notebook.parent / FOLDER / "chats" / _file_name(notebook.stem)
    kind = detect().kind
    name = {"plain": "python", "terminal": "terminal"}.get(kind, "session")
    return Path.cwd() / FOLDER / "chats" / name


def append_line(file: Path, line: bytes) -> None:
    """Append one line to a private file and wait until it is on the disk.

    A line that a power cut left without its end is ended first, so that it spoils nothing but itself.

    Raises
    ------
    OSError
        If the file cannot be written, or a link stands in its place or in its folder's.
    """
    _make_private_folder(file.parent)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(file, flags, 0o600)
    try:
        _lock(handle)
        if os.fstat(handle).st_size:
            os.lseek(handle, -1, os.SEEK_END)
            if os.read(handle, 1) != b"\n":
                line = b"\n" + line
        while line:
            line = line[os.write(handle, line) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    """Wait until no other kernel appends (where files can be locked); closing the file unlocks it."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)


def _make_private_folder(folder: Path) -> None:
    ours = [folder]
    while FOLDER in folder.parts and ours[-1].name != FOLDER:
        ours.append(ours[-1].parent)
    for part in reversed(ours):
        if part.is_symlink():  # a cloned repository must not lead our writing elsewhere
            raise OSError(errno.ELOOP, "a link stands in the folder's place", str(part))
        if not part.exists():
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
            if part.parent.name == FOLDER:
                (part / ".gitignore").write_text("# Chats are private.\n*\n", encoding="utf-8")


def _file_name(name: str) -> str:
    """Return a file name for any chat name; different names give different files."""
    quoted = quote(name, safe=" ()+,=@")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted
