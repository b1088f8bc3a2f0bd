"""Whose turn it is in a chat: one reply at a time grows there, the others wait in the order they came."""

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llama_nb.session.reply import Reply


class TurnLock:
    """Lets one reply at a time grow in a chat; who comes later waits for its turn.

    A thread would wait for ever for a stream that it has left open itself: that is closed instead.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._growing: Reply | None = None
        self._waiting: deque[Reply] = deque()

    def enter(self, reply: "Reply", *, wait_s: float = 0.0) -> bool:
        """Take the turn for `reply`, waiting at most `wait_s` seconds; return whether it was taken.

        One that did not get it keeps its place among those that wait, until it comes again or gives up.
        """
        growing = self._growing
        if growing is not None:
            growing.close_own_stream()
        with self._changed:
            if reply not in self._waiting:
                self._waiting.append(reply)
            if not self._changed.wait_for(lambda: self._is_next(reply), timeout=wait_s):
                return False
            self._waiting.popleft()
            self._growing = reply
            return True

    @property
    def held(self) -> bool:
        """Whether a reply is growing."""
        return self._growing is not None

    def leave(self, reply: "Reply") -> None:
        """Give the turn of `reply` back, or its place among those that wait; any thread may do it."""
        with self._changed:
            if self._growing is reply:
                self._growing = None
            elif reply in self._waiting:
                self._waiting.remove(reply)
            self._changed.notify_all()

    def _is_next(self, reply: "Reply") -> bool:
        return self._growing is None and self._waiting[0] is reply
