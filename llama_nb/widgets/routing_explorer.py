"""The routing explorer in a page: which experts each token goes through, how even that is, and what it does.

Knows the page and its messages; what is computed is `session.routing_explorer`'s business, in threads.
What the page sends is untrusted: it is looked up and checked, and ignored where it is wrong.
"""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core import events
from llama_nb.core.errors import LlamaError, Stopped, TraceError
from llama_nb.core.intervention import names
from llama_nb.core.stop import StopFlag
from llama_nb.render import routing as rendered
from llama_nb.session import routing_records as records
from llama_nb.session.latest import Jobs
from llama_nb.session.routing_explorer import RoutingLook
from llama_nb.session.routing_whatif import NOTHING, parts_of, read_changes, what_if
from llama_nb.widgets import live_view
from llama_nb.widgets.base import STATIC
from llama_nb.widgets.effect import NewestEffect
from llama_nb.widgets.growing_trace import GrowingView
from llama_nb.widgets.messages import Messages, Said, text, whole
from llama_nb.widgets.trace_explorer import TraceExplorer
from llama_nb.widgets.traits import Binary, Record, Text

if TYPE_CHECKING:
    from llama_nb.interpret.routing import RoutingTrace
    from llama_nb.interpret.routing_twin import RoutingView
    from llama_nb.widgets.output import Output

_MANY: Final = 100_000  # tokens from which on something is said while their labels are shuffled
_PARTS: Final = ("more", "further")  # of the page's code, each of which a page asks for once
Find = Callable[[StopFlag, Callable[[Said], None]], dict[str, Any]]
"""Returns a record; the second argument shows what of it is there already."""
_JOBS: Final = ("load", "information", "paths", "expert", "cost", "scores")


class RoutingExplorer(TraceExplorer):
    """Which experts the tokens of a trace go through. Empty until `fill`.

    Parameters
    ----------
    look
        What is looked at, and where.
    """

    _esm = STATIC / "routing.js"
    _css = STATIC / "routing.css"

    head = Record("RoutingHead")
    routes = Binary()
    routes_info = Record("RoutingRoutes")
    tokens = Record("RoutingTokens")
    load = Record("RoutingLoad")
    view = Record("RoutingView")
    paths = Record("RoutingPaths")
    expert = Record("RoutingExpert")
    effect = Record("RoutingEffect")
    cost = Record("RoutingCost")
    status = Text()

    def __init__(self, look: RoutingLook, **traits: Any) -> None:
        self._look_at = look
        self._jobs = Jobs("routing", _JOBS, self.guard)
        self._effect = NewestEffect("routing effect", self._show_effect, self.guard)
        self._numbers = itertools.count(1)
        self._asked: dict[str, int] = {}  # the newest question of each kind
        super().__init__(**traits)
        self._unsubscribe = events.subscribe(self.guard(self._watch))

    # --- what is shown ----------------------------------------------------------------------------------

    def fill(self) -> None:
        """Show the tokens and their experts, and begin to count."""
        with self.lock, self.hold_sync():
            self._show_head()
            self._show_window()
            self._show_view()
        self._count()

    def grow(self) -> None:
        """Follow the trace, to which tokens were added, or which is whole now."""
        with self.lock, self.hold_sync():
            self._look_at.grow()
            self._show_head()
            self._show_window()
        self._count()

    def settle(self, timeout: float | None = None) -> None:
        """Wait until what was asked for is shown."""
        self._jobs.join(timeout)
        self._effect.join(timeout)

    def looks(self) -> Messages:
        """Return what a page asks for; the shapes are `RoutingAsk`'s."""
        return {
            "hello": lambda _: None,  # a page that begins has all traits
            "window": self._move,
            "scores": self._answer_scores,
            "cost": lambda _: self._find_cost(),
            "cancel": lambda _: self._cancel(),
            "code": self._send_code,
        }

    def actions(self) -> Messages:
        """Return what a page does."""
        return {
            "look": self._look,
            "domain": self._domain,
            "pane": lambda said: self._choose(self._look_at.choose_pane, text(said, "pane")),
            "shade": lambda said: self._choose(self._look_at.choose_shade, text(said, "shade")),
            "paths": self._find_paths,
            "expert": self._find_expert,
            "whatif": self._what_if,
        }

    def text_twin(self) -> str:
        """Return loads and experts of the shown layer as text."""
        return rendered.to_plain(self._look_at.twin(), watched=True)

    def html_twin(self) -> str:
        """Return the same with colours."""
        return rendered.to_html(self._look_at.twin(), watched=True)

    def close(self) -> None:
        """Close the explorer and end what it computes; the trace is the user's."""
        self._unsubscribe()
        self._jobs.stop()
        self._effect.stop()
        super().close()

    # --- where one looks --------------------------------------------------------------------------------

    def _look(self, said: Said) -> None:
        layer, token = whole(said, "layer"), whole(said, "token")
        if layer is None or (token is None and said.get("token") is not None):
            return
        with self.lock:
            kept = token if "token" in said else self._look_at.token
            self._look_at.go(layer, kept)
            self._show_view()
        self.twin_changed()

    def _choose(self, choose: Callable[[str], None], name: str) -> None:
        with self.lock:
            choose(name)
            self._show_view()

    def _domain(self, said: Said) -> None:
        name = said.get("name")
        if not isinstance(name, str):
            return
        with self.lock, self.hold_sync():
            before = self._look_at.start
            self._look_at.choose_domain(name)
            self._show_view()
            if self._look_at.start != before:
                self._show_window()
        self._count()

    def _move(self, said: Said) -> None:
        start = whole(said, "start")
        if start is None:
            return
        with self.lock, self.hold_sync():
            self._look_at.move(start)
            self._show_window()

    # --- what is counted --------------------------------------------------------------------------------

    def _count(self) -> None:
        """Compute the load map of the domain, then what the experts tell of the labels."""
        look = self._look_at

        def count(flag: StopFlag) -> None:
            load = look.load()
            with self.lock:
                if flag.is_set():
                    return
                # What is known of the labels holds for every domain.
                known = self.load.get("information", [])
                self.load = {**records.load_record(load), "information": known}
            self.twin_changed()
            if not known:
                self._jobs.put("information", inform)

        def inform(flag: StopFlag) -> None:
            self.status = "Comparing with shuffled labels \u2026" if look.length >= _MANY else ""
            try:
                table = look.domains()
            finally:
                self.status = ""
            with self.lock:
                if table is None or flag.is_set():
                    return
                self.load = {**self.load, "information": records.information(table)}
            self.twin_changed()

        self._jobs.put("load", count)

    def _find_paths(self, said: Said) -> None:
        layer, token, domain = whole(said, "layer"), said.get("token"), said.get("domain")
        if layer is None or not isinstance(domain, str) or not (token is None or isinstance(token, str)):
            return
        look, shown = self._look_at, {"domain": domain, "token": token}
        look.check(layer, domain)

        def find(_flag: StopFlag, _show: Callable[[Said], None]) -> dict[str, Any]:
            return {**shown, **records.paths_record(look.paths(domain, token), layer)}

        self._find("paths", shown, find)

    def _find_expert(self, said: Said) -> None:
        layer, expert = whole(said, "layer"), whole(said, "expert")
        if layer is None or expert is None:
            return
        with self.lock:
            self._look_at.open(layer, expert)
            self._show_view()

        def find(flag: StopFlag, show: Callable[[Said], None]) -> dict[str, Any]:
            page = records.expert_record(self._look_at.page(layer, expert))
            show({**page, "running": True})
            weights = self._look_at.weights(flag)
            return page if weights is None else {**page, **records.weights_record(weights, layer, expert)}

        self._find("expert", {"layer": layer, "expert": expert}, find)
        self.twin_changed()

    def _find_cost(self) -> None:
        self._find("cost", self.cost, lambda *_: records.cost_record(self._look_at.cost()))

    def _find(self, name: str, known: dict[str, Any], find: Find) -> None:
        """Compute what the trait `name` shows; `known` of it is shown at once."""
        number = self._asked[name] = next(self._numbers)

        def show(record: Said) -> None:
            with self.lock:
                if self._asked.get(name) == number:
                    self.set_trait(name, dict(record))

        def work(flag: StopFlag) -> None:
            try:
                show({**find(flag, show), "running": False, "error": ""})
            except Stopped:
                show({**known, "running": False, "error": ""})
            except LlamaError as failure:
                show({**known, "running": False, "error": str(failure)})

        show({**known, "running": True, "error": ""})
        self._jobs.put(name, work)

    def _answer_scores(self, said: Said) -> None:
        number, layer, token = (whole(said, name) for name in ("number", "layer", "token"))
        if number is None or layer is None or token is None:
            return

        def answer(flag: StopFlag) -> None:
            scores, chosen = self._look_at.scores(layer, token)
            if not flag.is_set():
                self.send(
                    {
                        "kind": "scores",
                        "number": number,
                        "layer": layer,
                        "token": token,
                        "scores": records.digits(scores),
                        "chosen": [[expert, records.digit(weight)] for expert, weight in chosen],
                    }
                )

        self._jobs.put("scores", answer, ignored=(TraceError,))

    # --- what is changed --------------------------------------------------------------------------------

    def _what_if(self, said: Said) -> None:
        changes, position = read_changes(said, self._look_at.trace), whole(said, "position")
        if changes is None or (position is None and said.get("position") is not None):
            return
        with self.lock:
            self._look_at.changes = changes
            self._show_view()
        if changes == NOTHING:
            self._effect.clear()
            return
        parts = parts_of(changes, self._look_at.trace.experts)
        self._effect.begin(
            {"changed": [names([part]) for part in parts]},
            lambda flag, on_text: what_if(self._look_at, parts, position, flag, on_text),
        )

    def _show_effect(self, effect: dict[str, Any]) -> None:
        with self.lock:
            self.effect = effect

    # --- all of it ------------------------------------------------------------------------------------------

    def _send_code(self, said: Said) -> None:
        part = text(said, "part")
        if part in _PARTS:
            code = (STATIC / f"routing_{part}.js").read_text("utf-8")
            self.send({"kind": "code", "part": part, "text": code})

    def _cancel(self) -> None:
        self._jobs.stop("paths", "expert", "cost", "information")
        self._effect.cancel()
        with self.lock, self.hold_sync():
            for name in ("paths", "expert", "cost"):
                self._asked.pop(name, None)
                if getattr(self, name).get("running"):
                    self.set_trait(name, {**getattr(self, name), "running": False})

    def _show_head(self) -> None:
        self.head = records.head_record(self._look_at)

    def _show_window(self) -> None:
        # The bytes and what they are arrive in one message.
        self.routes_info, self.routes = records.routes_record(self._look_at, next(self._numbers))
        self.tokens = records.tokens_record(self._look_at)

    def _show_view(self) -> None:
        self.view = records.view_record(self._look_at, next(self._numbers))

    def _watch(self, event: events.Event) -> None:
        if self.comm is None or not self.head:
            return
        if isinstance(event, events.ModelsChanged):
            with self.lock:
                self._show_head()


def explorer(view: "RoutingView") -> RoutingExplorer:
    """Return a new explorer of a view that is about to be displayed."""
    return live_view.begin(RoutingExplorer(RoutingLook(view.trace, view.layer, view.domain)))


def growing(layer: int | None = None, output: "Output | None" = None) -> GrowingView[RoutingExplorer]:
    """Return what shows the routing of an answer while it is written."""

    def open_(trace: "RoutingTrace") -> RoutingExplorer:
        return RoutingExplorer(RoutingLook(trace, layer))

    return GrowingView(open_, output)
