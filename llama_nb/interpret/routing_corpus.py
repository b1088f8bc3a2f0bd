"""Captures the routing of many texts, a window of them at a time, into a file: memory stays what it was.

Knows modules, token ids and files; what the texts are and who may stop it, others know.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from llama_nb.interpret.passages import Passages
from llama_nb.interpret.routing_capture import CapturedRouting, capture_side_by_side, rows_at_once
from llama_nb.interpret.routing_file import RoutingFile

_WINDOW: Final = 8_192  # tokens of a window at most (a text at least); between two others get a turn

Stopped = Callable[[], str | None]
Changed = Callable[[Any, Sequence[int], Stopped], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """The work: texts as token ids, and how they are read.

    Attributes
    ----------
    top_k
        How many experts a token goes through, where that was changed; default the model's number.
    changed
        Changes the module while it reads token ids, in a block.
    alone
        Whether each text must be read by itself, since what is changed depends on it.
    """

    passages: Passages
    keep_logits: bool = False
    top_k: int | None = None
    changed: Changed | None = None
    alone: bool = False

    def windows(self) -> Iterator[range]:
        """Yield stretches of texts that are read in one go."""
        starts, first = self.passages.starts, 0
        while first < len(starts) - 1:
            last = int(np.searchsorted(starts, starts[first] + _WINDOW, side="right")) - 1
            yield range(first, max(first + 1, last))
            first = max(first + 1, last)

    def read(
        self, module: Any, window: range, file: RoutingFile, stopped: Stopped
    ) -> npt.NDArray[np.float64]:
        """Capture the texts of a window into `file`; returns what they add to the mass, (G, L, E)."""
        passages = self.passages
        texts = {
            text: passages.ids[passages.starts[text] : passages.starts[text + 1]].tolist() for text in window
        }
        total: npt.NDArray[np.float64] | None = None
        for batch in self._batches(module, texts):
            found = self._capture(module, [texts[text] for text in batch], stopped)
            for text, captured in zip(batch, found, strict=True):
                file.write(int(passages.starts[text]), captured.routes)
                if total is None:
                    groups = len(passages.domains) + 1 if passages.domains else 1
                    total = np.zeros((groups, *captured.mass.shape))
                total[-1 if passages.about is None else passages.about[text]] += captured.mass
        assert total is not None
        return total

    def _capture(self, module: Any, batch: list[list[int]], stopped: Stopped) -> list[CapturedRouting]:
        def capture() -> list[CapturedRouting]:
            return capture_side_by_side(
                module, batch, top_k=self.top_k, keep_logits=self.keep_logits, stopped=stopped
            )

        if self.changed is None:
            return capture()
        with self.changed(module, batch[0], stopped):
            return capture()

    def _batches(self, module: Any, texts: dict[int, list[int]]) -> Iterator[list[int]]:
        """Yield texts that are read side by side: those of like length, so that the padding is small."""
        waiting = sorted(texts, key=lambda text: -len(texts[text]))
        while waiting:
            count = 1 if self.alone else rows_at_once(module, len(texts[waiting[0]]))
            yield waiting[:count]
            waiting = waiting[count:]
