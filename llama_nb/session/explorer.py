"""The attention explorer without a page: a trace, the head and window that are looked at, what it is beside.

Knows traces and what is computed of them; knows no page. Numbers that name nothing in a trace are refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from llama_nb.core.errors import ModelGone, TraceError
from llama_nb.core.stop import StopFlag
from llama_nb.session.explorer_maps import Band, bands, links, thumbs_side
from llama_nb.session.known_traces import find_trace, identify, traces

if TYPE_CHECKING:
    from llama_nb.interpret.attention import AttentionTrace
    from llama_nb.render.attention import AttentionTwin
    from llama_nb.session.model import Model

Mode = Literal["one", "two", "difference"]
Window = tuple[int, int]

MODES: Final = ("one", "two", "difference")
MOST_LINKS: Final = 64
TILE: Final = 512  # pixels a side
_CHEAP: Final = 50_000_000  # weights of all heads together
_FIRST_TOKENS: Final = 20  # of the twin that a page gets before there is a map
_MOST_DATA: Final = 4_000  # weights that are copied at once


@dataclass(frozen=True, slots=True)
class Place:
    """One head of one trace."""

    trace: str
    layer: int
    head: int


class Explorer:
    """What is looked at of a trace.

    Parameters
    ----------
    trace
        What was captured; it may still grow.
    layer, head
        Where to begin; default the middle layer, and there the head that looks least at the text's beginning.

    Raises
    ------
    TraceError
        If the trace has no such layer or head.
    """

    def __init__(self, trace: "AttentionTrace", layer: int | None = None, head: int | None = None) -> None:
        self.trace = trace
        self.id = identify(trace)
        self.layer, self.head = trace.layers[len(trace.layers) // 2] if layer is None else layer, 0
        self.check(self.id, self.layer, head or 0)
        self.head = _first(trace, self.layer) if head is None else head
        # Taken once: a trace that grows may be longer with each look at it.
        self.length: int = trace.length
        self.rows: Window = (0, self.length)
        self.cols: Window = (0, self.length)
        self.query: int | None = self.length - 1
        self.position: int | None = None  # the token that was chosen by hand, behind which effects are shown
        self.other: Place | None = None
        self.mode: Mode = "one"
        self._beside: list[AttentionTrace] = []  # captured here to compare with: nobody else holds them

    # --- what is looked at ------------------------------------------------------------------------------

    def look(self, layer: int, head: int) -> None:
        """Look at another head, at the same window."""
        self.check(self.id, layer, head)
        self.layer, self.head = layer, head

    def zoom(self, rows: Window, cols: Window) -> None:
        """Look at a window: the tokens that read, and those that are read."""
        self.rows, self.cols = self._window(rows), self._window(cols)

    def ask(self, query: int | None) -> None:
        """Choose the token whose links are shown."""
        self.query = None if query is None else self._token(self.trace, query)
        self.position = self.query

    def compare(self, trace: str, layer: int, head: int) -> None:
        """Put another head beside it: of this trace or another."""
        self.check(trace, layer, head)
        self.other = Place(trace, layer, head)
        if self.mode == "one":
            self.mode = "two"

    def alone(self) -> None:
        """Look at one head again."""
        self.other, self.mode = None, "one"

    def choose(self, mode: Mode) -> None:
        """Show one head, two beside each other, or their difference."""
        if mode not in MODES or (mode != "one" and self.other is None):
            raise TraceError(f"There is nothing to show as {mode!r} yet.", "Compare with a head first.")
        self.mode = mode

    def grow(self) -> None:
        """Follow a trace that has grown: whoever looked at all of it, or at its end, does so still."""
        before, self.length = self.length, self.trace.length
        if self.rows == self.cols == (0, before):
            self.rows = self.cols = (0, self.length)
        if self.query == before - 1:
            self.query = self.length - 1

    # --- what is seen -----------------------------------------------------------------------------------

    @property
    def growing(self) -> bool:
        """Whether the model still writes."""
        return bool(getattr(self.trace, "growing", False))

    def map(self, stop: StopFlag) -> Iterator[Band]:
        """Yield the map of the window: coarse first where it takes long, then exact from top to bottom."""
        from llama_nb.interpret.tiles import tile

        made = tile(self.trace, self.layer, self.head, self.rows, self.cols, size=TILE, stopped=_reason(stop))
        return bands(made)

    def second_map(self, stop: StopFlag) -> Iterator[Band]:
        """Yield the map of what it is compared with, or of the difference."""
        from llama_nb.interpret.tiles import difference_tiles, tile

        place = self.other
        if place is None or self.mode == "one":
            return iter(())
        other = find_trace(place.trace)
        rows, cols = (_clipped(window, other.length) for window in (self.rows, self.cols))
        if rows is None or cols is None:
            return iter(())
        if self.mode == "two":
            made = tile(other, place.layer, place.head, rows, cols, size=TILE, stopped=_reason(stop))
            return bands(made)
        mine, its = (self.layer, self.head), (place.layer, place.head)
        return bands(difference_tiles(self.trace, mine, other, its, rows, cols, TILE, stopped=_reason(stop)))

    def thumbs(self, layer: int, stop: StopFlag) -> tuple[dict[str, int], bytes]:
        """Return small maps of all heads of a layer."""
        from llama_nb.interpret.tiles import thumbnails

        self.check(self.id, layer, 0)
        side = thumbs_side(self.trace.heads)
        made = thumbnails(self.trace, layer, side, stopped=_reason(stop))
        return {"layer": layer, "side": int(made.shape[-1]), "heads": len(made)}, made.tobytes()

    def row(self, query: int, second: bool = False) -> dict[str, Any]:
        """Return what a token reads most."""
        trace, layer, head = self._place(second)
        weights = trace.row(layer, head, self._token(trace, query))
        return self._links(trace, weights) | {"layer": layer, "head": head, "query": query}

    def column(self, key: int, stop: StopFlag, second: bool = False) -> dict[str, Any]:
        """Return who reads a token most."""
        trace, layer, head = self._place(second)
        weights = trace.column(layer, head, self._token(trace, key), stopped=_reason(stop))
        return self._links(trace, weights) | {"layer": layer, "head": head, "query": key}

    def _links(self, trace: "AttentionTrace", weights: Any) -> dict[str, Any]:
        from llama_nb.session.explorer_records import token_records

        found = links(weights, MOST_LINKS)
        # With their texts: the page would have to ask for a window of tokens around each of them.
        return found | {"tokens": token_records(trace, [at for at, _ in found["links"]])}

    def value(self, row: int, col: int, second: bool = False) -> float | None:
        """Return one weight; None where the token may not be read."""
        trace, layer, head = self._place(second)
        row, col = self._token(trace, row), self._token(trace, col)
        return None if col > row else float(trace.value(layer, head, row, col))

    def data(self, stop: StopFlag) -> str:
        """Return the strongest weights of the window as tab-separated values with a heading."""
        from llama_nb.interpret.attention_links import strongest

        lines = ["query\ttoken\tkey\ttoken\tweight"]
        texts = self.trace.texts
        found = strongest(
            *(self.trace, self.layer, self.head, _MOST_DATA),
            rows=self.rows,
            cols=self.cols,
            stopped=_reason(stop),
        )
        for query, key, weight in found:
            lines.append(f"{query}\t{_cell(texts[query])}\t{key}\t{_cell(texts[key])}\t{weight:.6g}")
        return "\n".join(lines)

    def scores(self, stop: StopFlag) -> list[dict[str, Any]]:
        """Return the scores of all heads, as the page gets them."""
        from llama_nb.interpret.head_scores import score_heads
        from llama_nb.session.explorer_records import score_records

        return score_records(score_heads(self.trace, stopped=_reason(stop)))

    def cheap(self) -> bool:
        """Whether a pass over all heads takes so little that nobody needs to ask for it."""
        trace = self.trace
        return not self.growing and len(trace.layers) * trace.heads * trace.length**2 <= _CHEAP

    def read(self, text: str, stop: StopFlag) -> Place:
        """Read another text with the same model, and return the same head of it.

        Raises
        ------
        ModelGone
            If the model is not loaded any more.
        """
        model = self.model()
        if model is None:
            raise ModelGone(f"{self.trace.model} is not loaded any more.", "Load it to read another text.")
        layer, head = self.layer, self.head
        made = model.attention(text, layers=list(self.trace.layers), stop=stop)
        self._beside.append(made)
        return Place(identify(made), layer, head)

    def twin(self) -> "AttentionTwin":
        """Return what stands in the notebook for the shown head."""
        from llama_nb.interpret.attention_twin import attention_twin

        return attention_twin(self.trace, self.layer, self.head, watched=True)

    def bare_twin(self) -> "AttentionTwin":
        """Return the same without anything that takes a while."""
        from llama_nb.interpret.attention_twin import bare_twin

        return bare_twin(self.trace, self.layer, self.head, _FIRST_TOKENS)

    def others(self) -> dict[str, "AttentionTrace"]:
        """Return the traces of this kernel that can be compared with, by id."""
        return {name: trace for name, trace in traces().items() if name != self.id}

    def model(self) -> "Model | None":
        """Return the model that the trace is of, if it is loaded."""
        from llama_nb.session import registry

        return registry.loaded_of(self.trace.fingerprint, self.trace.model)

    def check(self, trace: str, layer: int, head: int) -> None:
        """Refuse a head that there is not."""
        captured = find_trace(trace)
        if layer not in captured.layers:
            raise TraceError(
                f"Layer {layer} was not captured: there are {_listed(captured.layers)}.",
                "Layers count from 0.",
            )
        if not 0 <= head < captured.heads:
            raise TraceError(f"There is no head {head}: from 0 to {captured.heads - 1}.")

    def _place(self, second: bool) -> "tuple[AttentionTrace, int, int]":
        if not second:
            return self.trace, self.layer, self.head
        if self.other is None:
            raise TraceError("There is no second head.")
        return find_trace(self.other.trace), self.other.layer, self.other.head

    def _window(self, window: Window) -> Window:
        start, end = window
        if not 0 <= start < end <= self.length:
            raise TraceError(f"There is no window {start} to {end} in {self.length:,} tokens.")
        return start, end

    @staticmethod
    def _token(trace: "AttentionTrace", position: int) -> int:
        if not 0 <= position < trace.length:
            raise TraceError(f"There is no token {position}: from 0 to {trace.length - 1:,}.")
        return position


def _first(trace: "AttentionTrace", layer: int) -> int:
    from llama_nb.interpret.attention_links import first_head

    return first_head(trace, layer)


def _clipped(window: Window, length: int) -> Window | None:
    return (window[0], min(window[1], length)) if window[0] < length else None


def _reason(stop: StopFlag) -> Any:
    return lambda: stop.reason if stop.is_set() else None


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _listed(layers: tuple[int, ...]) -> str:
    first, last = layers[0], layers[-1]
    if len(layers) == last - first + 1:
        return f"{first} to {last}" if len(layers) > 1 else str(first)
    return ", ".join(map(str, layers))
