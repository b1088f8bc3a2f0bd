"""What `%llama status` answers to somebody who watches: today's tables, and who takes the memory now."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llama_nb.magics.shown import Shown

if TYPE_CHECKING:
    from llama_nb.render.memory import MemoryUse


class StatusReport(Shown):
    """Tables and memory, as they were when it was made; a page shows it live (magics/live_values.py).

    Parameters
    ----------
    tables
        The models and chats.
    memory
        Each memory of the machine.
    again
        Makes the report of a later moment.
    """

    def __init__(
        self, tables: Shown, memory: "Sequence[MemoryUse]", again: "Callable[[], StatusReport]"
    ) -> None:
        from llama_nb.render.memory import memory_table
        from llama_nb.render.text import to_text

        table = memory_table(memory)
        whole = tables + Shown(to_text([table]), [table])
        super().__init__(whole.text, whole.nodes)
        self.tables = tables
        self.memory = tuple(memory)
        self.again = again

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from llama_nb.render.html import to_html
        from llama_nb.render.memory import memory_html

        html = memory_html(self.memory) + to_html(self.tables.as_nodes())
        return {"text/plain": self.text, "text/html": html}
