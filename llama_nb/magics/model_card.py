"""How a Model looks in a page: one small card. Its text is the Model's own repr."""

import html
from collections.abc import Callable
from typing import Any, Final

from llama_nb.loading.config import kind_label
from llama_nb.magics.units import number, size
from llama_nb.runtime.environment import detect

_CARD: Final = (
    "display:inline-block;border:1px solid #8886;border-left:4px solid #c65d2e;border-radius:4px;"
    "padding:6px 14px 6px 10px;margin:4px 0;font-variant-numeric:tabular-nums"
)
_FACT: Final = "display:inline-block;margin-right:18px"
_TYPE: Final = "llama_nb.session.model.Model"


def install(shell: Any) -> Callable[[], None]:
    """Show Models as cards in `shell`; return the function that ends it."""
    formatter = shell.display_formatter.formatters["text/html"]
    module, _, name = _TYPE.rpartition(".")
    formatter.for_type_by_name(module, name, card)
    return lambda: formatter.pop(_TYPE, None)


def card(model: Any) -> str | None:
    """Return the card's HTML; None for an unloaded model, whose text says enough."""
    if not model.alive:
        return None
    facts = [
        f"{number(model.parameters)} parameters",
        f"{model.quant or model.dtype} on {model.device}",
        size(model.bytes),
        f"context {model.context:,}",
    ]
    shown = "".join(f'<span style="{_FACT}">{html.escape(fact)}</span>' for fact in facts)
    kind = html.escape(kind_label(str(model.checked.model_type)))
    name = html.escape(model.name)
    said = [*model.quant_notes]
    if model.replayed and detect().watched:
        said.append(f"Played back from {model.replayed}: the model itself is not loaded.")
    notes = "".join(f'<div style="opacity:.8">{html.escape(note)}</div>' for note in said)
    heading = f'<b>{name}</b> <span style="opacity:.7">{kind}</span>'
    return f'<div style="{_CARD}"><div>{heading}</div><div>{shown}</div>{notes}</div>'
