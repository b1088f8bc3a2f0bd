"""Whose turn it is in a chat: one reply at a time grows there."""

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llama_nb.session.reply import Reply


class TurnLock:
    """Lets one reply at a time grow in a chat; a second one waits for its turn.

    A thread would wait for ever for a stream that it has left open itself: that is closed instead.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reply: Reply | None = None

    def enter(self, reply: "Reply", *, wait_s: float = 0.0) -> bool:
        """Take the turn for `reply`, waiting at most `wait_s` seconds; return whether it was taken."""
        growing = self._reply
        if growing is not None:
            growing.close_own_stream()
        taken = self._lock.acquire(timeout=wait_s) if wait_s else self._lock.acquire(blocking=False)
        if taken:
            self._reply = reply
        return taken

    @property
    def held(self) -> bool:
        """Whether a reply is growing."""
        return self._lock.locked()

    def leave(self) -> None:
        """Give the turn back; any thread may do it."""
        self._reply = None
        self._lock.release()
