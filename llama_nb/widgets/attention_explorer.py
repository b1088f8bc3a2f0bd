"""The attention explorer in a page: maps of heads, links between tokens, parts of the model to turn off.

Knows the page and its messages; what is computed is `session.explorer`'s business, in threads.
What the page sends is untrusted: it is looked up and checked, and ignored where it is wrong.
"""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core import events
from llama_nb.core.errors import TraceError
from llama_nb.core.stop import StopFlag
from llama_nb.render import attention as rendered
from llama_nb.session.explorer import Explorer
from llama_nb.session.explorer_effect import read_parts
from llama_nb.session.explorer_maps import Band
from llama_nb.session.explorer_records import MOST_TOKENS, head_record, tokens_record, view_record
from llama_nb.session.latest import Jobs
from llama_nb.widgets import live_view
from llama_nb.widgets.attention_answers import Answers
from llama_nb.widgets.attention_switches import Switches
from llama_nb.widgets.base import STATIC
from llama_nb.widgets.growing_trace import GrowingView
from llama_nb.widgets.messages import Messages, Said, text, whole, wholes
from llama_nb.widgets.trace_explorer import TraceExplorer
from llama_nb.widgets.traits import Binary, Record, Text

if TYPE_CHECKING:
    from llama_nb.interpret.attention_twin import AttentionView
    from llama_nb.render.attention import AttentionTwin
    from llama_nb.widgets.output import Output

_MORE: Final = STATIC / "attention_more.js"  # what opens on demand; a page asks for it once
_JOBS: Final = ("reading", "map", "second map", "thumbs", "links", "value", "copy", "scores")
_LONGEST_TEXT: Final = 20_000
_MAPS: Final = {"map": "tile", "second map": "tile2"}


class AttentionExplorer(TraceExplorer):
    """What the heads of a model attend to. Empty until `fill`.

    Parameters
    ----------
    explorer
        What is looked at, and where.
    """

    _esm = STATIC / "attention.js"
    _css = STATIC / "attention.css"

    head = Record("AttentionHead")
    tokens = Record("AttentionTokens")
    view = Record("AttentionView")
    thumbs = Binary()
    thumbs_info = Record("AttentionThumbs")
    tile = Binary()
    tile_info = Record("AttentionTile")
    tile2 = Binary()
    tile2_info = Record("AttentionTile")
    effect = Record("AttentionEffect")
    status = Text()

    def __init__(self, explorer: Explorer, **traits: Any) -> None:
        self._explorer = explorer
        self._jobs = Jobs("attention", _JOBS, self.guard)
        self._answers = Answers(self._explorer, self._jobs, self.send)
        self._numbers = itertools.count(1)
        self._maps: dict[str, Band] = {}
        self._switches = Switches(self._explorer, self._show_effect, self.guard)
        self._scores: tuple[list[dict[str, Any]], str] = ([], "none")
        self._twin_of: tuple[Any, AttentionTwin] | None = None
        super().__init__(**traits)
        self._unsubscribe = events.subscribe(self.guard(self._watch))

    # --- what is shown ----------------------------------------------------------------------------------

    def fill(self) -> None:
        """Show the tokens, and begin to compute the map and the heads of the layer."""
        with self.lock, self.hold_sync():
            self._show_head()
            self._show_tokens()
            self._show_view()
        self._draw()
        self._fill_heads()

    def grow(self) -> None:
        """Follow the trace, to which rows were added, or which is whole now."""
        with self.lock, self.hold_sync():
            self._explorer.grow()
            self._show_head()
            self._show_tokens()
            self._show_view()
        self._draw()
        if not self._explorer.growing:
            self._fill_heads()

    def settle(self, timeout: float | None = None) -> None:
        """Wait until what was asked for is shown."""
        self._jobs.join(timeout)
        self._switches.effect.join(timeout)

    def looks(self) -> Messages:
        """Return what a page asks for; the shapes are `AttentionAsk`'s."""
        return {
            **self._answers.messages(),
            "hello": self._hello,
            "thumbs": lambda said: self._draw_thumbs(whole(said, "layer")),
            "scores": lambda _: self._score(),
            "cancel": lambda _: self._cancel(),
            "code": lambda _: self.send({"kind": "code", "text": _MORE.read_text("utf-8")}),
        }

    def actions(self) -> Messages:
        """Return what a page does."""
        return {
            "look": self._look,
            "zoom": self._zoom,
            "query": self._ask,
            "compare": self._compare,
            "mode": self._mode,
            "prompt": self._other_text,
            "off": self._turn_off,
        }

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> Any:
        """Return the state; a page that asks for all of it gets whole maps, not their last bands."""
        with self.lock:
            state = super().get_state(key, drop_defaults=drop_defaults)
            if key is None:
                for name, band in self._maps.items():
                    complete = band.complete()
                    state |= {f"{name}_info": complete.info, name: complete.bytes}
            return state

    def text_twin(self) -> str:
        """Return the shown head's strongest links as text."""
        return rendered.to_plain(self._twin(), watched=True)

    def html_twin(self) -> str:
        """Return its map as a picture, with the same."""
        return rendered.to_html(self._twin(), watched=True)

    def close(self) -> None:
        """Close the explorer and end what it computes; the trace is the user's."""
        self._unsubscribe()
        self._jobs.stop()
        self._switches.effect.stop()
        super().close()

    # --- where one looks --------------------------------------------------------------------------------

    def _look(self, said: Said) -> None:
        layer, head = whole(said, "layer"), whole(said, "head")
        if layer is None or head is None:
            return
        other_layer = layer != self._explorer.layer
        with self.lock:
            self._explorer.look(layer, head)
            self._show_view()
        self._draw()
        if other_layer:
            self._draw_thumbs(layer)

    def _zoom(self, said: Said) -> None:
        rows, cols = wholes(said, "rows", 2), wholes(said, "cols", 2)
        if rows is None or cols is None:
            return
        with self.lock:
            self._explorer.zoom((rows[0], rows[1]), (cols[0], cols[1]))
            self._show_view()
        self._draw()

    def _ask(self, said: Said) -> None:
        query = whole(said, "query")
        if query is None and said.get("query") is not None:
            return
        with self.lock:
            self._explorer.ask(query)
            self._show_view()
        self._switches.again()

    def _compare(self, said: Said) -> None:
        layer, head = whole(said, "layer"), whole(said, "head")
        with self.lock:
            if said.get("off") is True:
                self._explorer.alone()
            elif layer is not None and head is not None:
                self._explorer.compare(text(said, "trace"), layer, head)
            else:
                return
            self._show_view()
        self._draw_second()

    def _mode(self, said: Said) -> None:
        mode = said.get("mode")
        if mode == "one" or mode == "two" or mode == "difference":
            with self.lock:
                self._explorer.choose(mode)
                self._show_view()
            self._draw_second()

    def _other_text(self, said: Said) -> None:
        """Read another text with the same model, and put it beside this one."""
        typed = text(said, "text", _LONGEST_TEXT)
        if not typed.strip():
            return

        def read(flag: StopFlag) -> None:
            self.status = "Reading the other text …"
            try:
                place = self._explorer.read(typed, flag)
            finally:
                self.status = ""
            with self.lock:
                self._explorer.compare(place.trace, place.layer, place.head)
                self._show_head()
                self._show_view()
            self._draw_second()

        self._jobs.put("reading", read)

    # --- maps -------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        """Compute the map of the window, and of what it is compared with."""
        self._draw_map("map", self._explorer.map)
        self._draw_second()

    def _draw_second(self) -> None:
        if self._explorer.mode != "one":
            self._draw_map("second map", self._explorer.second_map)
            return
        self._jobs.stop("second map")
        with self.lock, self.hold_sync():
            self._maps.pop("tile2", None)
            self.tile2, self.tile2_info = b"", {}

    def _draw_map(self, job: str, compute: Callable[[StopFlag], Any]) -> None:
        number, name = next(self._numbers), _MAPS[job]

        def draw(flag: StopFlag) -> None:
            for band in compute(flag):
                if flag.is_set():
                    return
                self._show_band(name, Band({**band.info, "number": number}, band.values))
            self.twin_changed()

        self._jobs.put(job, draw)

    def _show_band(self, name: str, band: Band, *, again: bool = False) -> None:
        # The bytes and what they are arrive in one message.
        with self.lock:
            self._maps[name] = band
            with self.hold_sync():
                self.set_trait(f"{name}_info", band.info)
                self.set_trait(name, band.bytes)
            if again:
                self.send_state([f"{name}_info", name])

    def _draw_thumbs(self, layer: int | None) -> None:
        if layer is None:
            return

        def draw(flag: StopFlag) -> None:
            info, values = self._explorer.thumbs(layer, flag)
            if not flag.is_set():
                with self.lock, self.hold_sync():
                    self.thumbs_info, self.thumbs = info, values

        self._jobs.put("thumbs", draw, ignored=(TraceError,))

    def _fill_heads(self) -> None:
        """Show all heads of the layer, with their scores where nobody needs to wait for them."""
        self._draw_thumbs(self._explorer.layer)
        if self._explorer.cheap():
            self._score()

    def _hello(self, said: Said) -> None:
        """Send whole maps to a page that begins to show them and missed a band."""
        if said.get("whole") is False:
            for name, band in dict(self._maps).items():
                self._show_band(name, band.complete(), again=True)

    def _score(self) -> None:
        if self._scores[1] != "none":
            return
        self._scores = ([], "running")

        def score(flag: StopFlag) -> None:
            found: list[dict[str, Any]] | None = None
            try:
                found = self._explorer.scores(flag)
            finally:
                self._scores = ([], "none") if found is None else (found, "done")
                with self.lock:
                    self._show_head()

        with self.lock:
            self._show_head()
        self._jobs.put("scores", score)

    # --- what is turned off -------------------------------------------------------------------------------

    def _turn_off(self, said: Said) -> None:
        parts = read_parts(said.get("parts"), self._explorer.trace)
        mode = said.get("mode")
        if parts is None or mode not in ("zero", "mean"):
            return
        self._switches.set(parts, str(mode))
        with self.lock:
            self._show_view()

    def _show_effect(self, effect: dict[str, Any]) -> None:
        with self.lock:
            self.effect = effect

    # --- all of it ------------------------------------------------------------------------------------------

    def _cancel(self) -> None:
        self._jobs.stop("map", "second map", "scores", "reading")
        self._switches.effect.cancel()

    def _show_head(self) -> None:
        found, state = self._scores
        self.head = head_record(self._explorer, scores=found, scored=state)

    def _show_tokens(self) -> None:
        trace, length = self._explorer.trace, self._explorer.length
        start = max(0, length - MOST_TOKENS) if self._explorer.growing else 0
        self.tokens = tokens_record(trace, start, length)

    def _show_view(self) -> None:
        self.view = view_record(self._explorer, self._switches.off, next(self._numbers))

    def _watch(self, event: events.Event) -> None:
        if self.comm is None or not self.head:
            return
        if isinstance(event, events.ModelsChanged):
            with self.lock:
                self._show_head()

    def _twin(self) -> "AttentionTwin":
        """Return the twin; before there is a map it says only what is looked at."""
        explorer = self._explorer
        band = self._maps.get("tile")
        if band is None or band.info["done"] < 1:
            return explorer.bare_twin()
        of = (explorer.layer, explorer.head, explorer.length)
        if self._twin_of is None or self._twin_of[0] != of:
            self._twin_of = (of, explorer.twin())
        return self._twin_of[1]


def explorer(view: "AttentionView") -> AttentionExplorer:
    """Return a new explorer of a view that is about to be displayed."""
    return live_view.begin(AttentionExplorer(Explorer(view.trace, view.layer, view.head)))


def growing(
    layer: int | None = None, head: int | None = None, output: "Output | None" = None
) -> GrowingView[AttentionExplorer]:
    """Return what shows the attention of an answer while it is written."""
    return GrowingView(lambda trace: AttentionExplorer(Explorer(trace, layer, head)), output)
