"""Writes labextension/widgets/traits.ts: the TypeScript interface of each widget, from its Python traits.

Run `python -m tools.traits` after a trait changed; a test compares the file with what this would write.
"""

from pathlib import Path
from typing import Any, Final

from llama_nb.widgets import traits
from llama_nb.widgets.anatomy_view import AnatomyView
from llama_nb.widgets.attention_explorer import AttentionExplorer
from llama_nb.widgets.base import Widget
from llama_nb.widgets.chat_panel import ChatPanel
from llama_nb.widgets.compare_view import CompareView
from llama_nb.widgets.lens_view import LensView
from llama_nb.widgets.loader_panel import LoaderPanel
from llama_nb.widgets.plan_view import PlanView
from llama_nb.widgets.reply_view import ReplyView
from llama_nb.widgets.routing_explorer import RoutingExplorer
from llama_nb.widgets.sampling_lab import SamplingLab
from llama_nb.widgets.status_bars import StatusBars
from llama_nb.widgets.training_panel import TrainingPanel

TARGET: Final = Path(__file__).parents[1] / "labextension" / "widgets" / "traits.ts"
WIDGETS: Final[tuple[type[Widget], ...]] = (
    ReplyView,
    LoaderPanel,
    PlanView,
    StatusBars,
    ChatPanel,
    SamplingLab,
    CompareView,
    AnatomyView,
    AttentionExplorer,
    LensView,
    RoutingExplorer,
    TrainingPanel,
)

LONGEST: Final = 110  # of a line, as in biome.json

_TYPES: Final[dict[type[Any], str]] = {
    traits.Text: "string",
    traits.Flag: "boolean",
    traits.Count: "number",
    traits.Texts: "string[]",
    traits.Nodes: "Tree[]",
    traits.Binary: "DataView",
}


def interface(widget: type[Widget]) -> str:
    """Return the TypeScript interface of one widget's own synced traits."""
    members = widget.class_traits()
    lines = [f"  {name}: {_type(members[name])};" for name in widget.own_traits()]
    return "\n".join([f"export interface {widget.__name__}Traits {{", *lines, "}"])


def text() -> str:
    """Return the whole file."""
    shapes = sorted({trait.shape for widget in WIDGETS for trait in _records(widget)})
    head = [
        "/** Made from the Python traits by `python -m tools.traits`; do not edit. */",
        "",
        'import type { Tree } from "./nodes";',
        _import(shapes),
    ]
    return "\n".join([*head, "", *(f"{interface(widget)}\n" for widget in WIDGETS)])


def _import(shapes: list[str]) -> str:
    """Return the import of `shapes` as biome formats it: a name a line when it would be too long."""
    line = f'import type {{ {", ".join(shapes)} }} from "./shapes";'
    if len(line) <= LONGEST:
        return line
    return "\n".join(["import type {", *(f"  {shape}," for shape in shapes), '} from "./shapes";'])


def _records(widget: type[Widget]) -> list[traits.Record]:
    return [trait for trait in widget.class_traits().values() if isinstance(trait, traits.Record)]


def _type(trait: Any) -> str:
    return trait.shape if isinstance(trait, traits.Record) else _TYPES[type(trait)]


if __name__ == "__main__":
    TARGET.write_text(text())
