"""The chats of one model by name: which one is current, and how they are made, deleted and restored."""

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from llama_nb.core.errors import ChatStoreError, ModelBusy
from llama_nb.core.events import ChatChanged, publish
from llama_nb.session.chat import Chat, Journal, check_chat_name, unknown_chat

MAIN = "main"


class ChatBook(Mapping[str, Chat]):
    """The chats of a model; there is always one called "main".

    Attributes
    ----------
    current
        Name of the chat that is used where a call names none.
    """

    def __init__(self, journal: Journal | None, forget: Callable[[str], None]) -> None:
        self.current = MAIN
        self._journal = journal
        self._forget = forget
        self._chats = {MAIN: Chat(MAIN, journal)}
        self._lock = threading.Lock()

    def open(self, name: str | None = None) -> Chat:
        """Return the chat called `name` (default: the current one), made when it is new."""
        name = self.current if name is None else check_chat_name(name)
        with self._lock:
            found = self._chats.get(name)
            if found is not None:
                return found
            made = self._chats[name] = Chat(name, self._journal)
        publish(ChatChanged(made))
        return made

    def use(self, name: str) -> Chat:
        """Make `name`, which must exist, the current chat."""
        found = self._find(name)
        self.current = name
        return found

    def clear(self, name: str | None = None) -> Chat:
        """Begin a chat anew, and drop its KV cache; what was stored of it stays stored."""
        found = self._find(self.current if name is None else name)
        self._check_idle(found)
        found.clear()
        self._forget(found.cache_key)
        return found

    def delete(self, name: str) -> None:
        """Forget a chat: in memory, in the KV cache and on disk. "main" is empty afterwards, not gone."""
        found = self._find(name)
        self._check_idle(found)
        with self._lock:
            del self._chats[name]
            self._chats.setdefault(MAIN, Chat(MAIN, self._journal))
            if self.current == name:
                self.current = MAIN
        if self._journal is not None:
            self._journal.delete(found)
        self._forget(found.cache_key)
        publish(ChatChanged(self._chats.get(name, found)))

    def restore(self, name: str | None = None, source: str | Path | None = None) -> Chat:
        """Read a stored chat back, in place of the one in memory.

        Parameters
        ----------
        name
            Which chat; default the current one.
        source
            A chat's file, or a notebook (`.ipynb`) whose saved replies are read; default the chat's own
            file beside this notebook.

        Raises
        ------
        ChatStoreError
            If there is nothing to restore there.
        """
        from llama_nb.session.restore import restore_into

        found = self.open(name)
        self._check_idle(found)
        if source is not None:
            restore_into(found, Path(source).expanduser())
        elif self._journal is not None:
            restore_into(found, self._journal.file(found), own=True)
        else:
            raise ChatStoreError(
                "This model's chats are kept in memory only.", "Give the path of a saved notebook."
            )
        return found

    def _find(self, name: str) -> Chat:
        if name not in self._chats:
            raise unknown_chat(name, self._chats)
        return self._chats[name]

    def _check_idle(self, chat: Chat) -> None:
        if chat.turn.held:
            raise ModelBusy(f"Chat {chat.name!r} is being answered.", "Wait for it, or stop it: %llama stop")

    def __getitem__(self, name: str) -> Chat:
        return self._chats[name]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._chats))

    def __len__(self) -> int:
        return len(self._chats)

    def __repr__(self) -> str:
        rows = (f"{'*' if name == self.current else ' '} {chat!r}" for name, chat in self._chats.items())
        return "\n".join(rows)
