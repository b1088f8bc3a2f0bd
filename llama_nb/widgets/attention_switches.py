"""The explorer's switches: which parts of the model are off, and what that does.

Knows what a page shows of it; how a part is turned off, and what comes of it, is the session's business.
"""

from collections.abc import Callable
from typing import Any

from llama_nb.session.explorer import Explorer
from llama_nb.session.explorer_effect import Part, names_of, turned_off
from llama_nb.widgets.effect import Guard, NewestEffect


class Switches:
    """What is off, and the newest computation of its effect.

    Parameters
    ----------
    show
        Takes an `AttentionEffect` as the page shows it, on any thread.
    guard
        Wraps what runs in a thread, so that an exception is shown.
    """

    def __init__(self, explorer: Explorer, show: Callable[[dict[str, Any]], None], guard: Guard) -> None:
        self._explorer = explorer
        self.effect = NewestEffect("attention effect", show, guard)
        self.off: tuple[Part, ...] = ()
        self.mode = "zero"

    def set(self, parts: tuple[Part, ...], mode: str) -> None:
        """Turn these parts off, and all others on."""
        self.off, self.mode = parts, mode
        if parts:
            self.effect.begin(
                {"off": names_of(parts)},
                lambda flag, on_text: turned_off(self._explorer, parts, mode, flag, on_text),
            )
        else:
            self.effect.clear()

    def again(self) -> None:
        """Compute the effect again: at another token, or after an end that somebody asked for."""
        if self.off:
            self.set(self.off, self.mode)
