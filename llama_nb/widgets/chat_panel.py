"""The chat panel: a conversation that is talked to, branched and looked at in the page.

Knows the page and its messages; what there is to show and to do is `session.panel`'s. What the page sends is
untrusted: it is looked up, never taken as it is. What happens to the chat elsewhere comes as events.
"""

import itertools
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

from llama_nb.core import events
from llama_nb.core.errors import ModelBusy
from llama_nb.render import conversation as rendered
from llama_nb.session import conversation
from llama_nb.session.model import Model
from llama_nb.session.panel import Panel
from llama_nb.session.reply import Reply
from llama_nb.session.tools import ToolRun
from llama_nb.widgets import live, live_view
from llama_nb.widgets.approval import Approvals
from llama_nb.widgets.base import STATIC
from llama_nb.widgets.growing import Growing, Writing
from llama_nb.widgets.live_view import LiveWidget
from llama_nb.widgets.messages import Messages, Said, number, text, texts, whole
from llama_nb.widgets.output import Output
from llama_nb.widgets.traits import Flag, Record

# A long conversation is put into the notebook more rarely, so that this costs no more than this on average.
TWIN_BYTES_PER_S: Final = 100_000
_SIDE: Final = STATIC / "chat_side.js"  # what opens on demand; a page asks for it once
_MOST_ASKED: Final = 1000  # messages whose contents a page asks for at once
_MOST_NEW: Final = 2  # messages that come at once; of more a branch or a chat was chosen, and pages know best
_LONGEST: Final = 1_000_000  # characters of a message

_numbers = itertools.count(1)  # by which a page tells the drafts of several panels apart


class ChatPanel(LiveWidget, Growing):
    """A panel to talk with a model in.

    Parameters
    ----------
    panel
        Which chat of which model.
    """

    _esm = STATIC / "chat.js"
    _css = STATIC / "chat.css"

    head = Record("ChatHead")
    path = Record("ChatPath")
    sampling = Record("SamplingState")
    running = Flag()
    live = Record("ChatLive")

    def __init__(self, panel: Panel, **traits: Any) -> None:
        self.panel = panel
        self._number = next(_numbers)
        # Held while the traits are set, never while something is done to a chat: that is told to all panels.
        self._lock = threading.RLock()
        self._replies: list[Reply] = []  # asked for and not done, the one that is shown first
        self._writing: Writing | None = None
        self._asking: dict[int, str] = {}  # what this panel asks for now, by thread
        # What it asked for, and which message a reply answers.
        self._kinds: weakref.WeakKeyDictionary[Reply, str] = weakref.WeakKeyDictionary()
        self._asked: weakref.WeakKeyDictionary[Reply, str] = weakref.WeakKeyDictionary()
        self._run: ToolRun | None = None
        self._approvals = Approvals(self.refresh)
        super().__init__(**traits)
        self._unsubscribe = events.subscribe(self.guard(self._watch))

    def fill(self) -> None:
        """Show what is there: the conversation, the sampling, a reply that is on its way."""
        self._replies = self.panel.under_way()
        self._show_sampling()
        self.refresh()

    def refresh(self) -> None:
        """Show the conversation as it is now."""
        with self._lock:
            self._replies = [reply for reply in self._replies if not reply.done]
            growing = self._replies[0] if self._replies else None
            ended = self._writing if self._writing and self._writing.reply is not growing else None
            if ended is not None:
                ended.end()
                self._writing = None
            if growing is not None and self._writing is None:
                self._writing = Writing(growing, self)
            steps = self.panel.steps()
            self._tell_new(steps)
            with self.hold_sync():
                self.head = {**self.panel.head(), "panel": self._number}
                self.path = {"steps": steps}
                self.live = self._live(growing)
                self.running = bool(self.live)
                self.error = self.panel.gone or self.error
            if growing is None:
                self.push(0, [], "")
        self.twin_changed()

    def _tell_new(self, steps: list[dict[str, Any]]) -> None:
        """Send what was just asked, so that no page shows an empty message until it has asked for it."""
        if not self.path:
            return
        before = {step["id"] for step in self.path["steps"]}
        new = [step["id"] for step in steps if step["id"] not in before and step["role"] != "assistant"]
        if 0 < len(new) <= _MOST_NEW:
            self.send({"kind": "contents", "items": conversation.contents(self.panel.chat, new)})

    def looks(self) -> Messages:
        """Return what a page asks for."""
        return {
            "lost": lambda _: self.checkpoint(),
            "code": lambda _: self.send({"kind": "code", "text": _SIDE.read_text("utf-8")}),
            "want": self._want,
            "tokens": self._tokens,
            "tree": lambda _: self.send({"kind": "tree", "nodes": conversation.tree(self.panel.chat)}),
        }

    def actions(self) -> Messages:
        """Return what a page does."""
        panel = self.panel
        return {
            "send": self._send_message,
            "stop": lambda _: self._stop(),
            "continue": lambda said: self._ask("continue", panel.go_on, text(said, "id")),
            "retry": lambda said: self._ask("retry", panel.retry, text(said, "id")),
            "edit": self._edit,
            "branch": self._branch,
            "goto": lambda said: panel.goto(text(said, "id"), tip=said.get("tip") is True),
            "system": self._set_system,
            "chat": lambda said: self._move(panel.use_chat, said),
            "new": lambda said: self._move(panel.new_chat, said),
            "delete": lambda said: self._move(panel.delete_chat, said),
            "model": lambda said: self._move(panel.use_model, said),
            "adapter": self._switch,
            "set": self._set,
            "preset": lambda said: panel.use_preset(text(said, "name")),
            "export": lambda said: self.send({"kind": "exported", **panel.export(text(said, "format"))}),
            "allow": lambda said: self._approvals.answer(text(said, "call"), yes=True),
            "deny": lambda said: self._approvals.answer(text(said, "call"), yes=False),
        }

    def lasting_error(self) -> str:
        """Return that the model is gone, while it is."""
        return self.panel.gone

    def text_twin(self) -> str:
        """Return the conversation as text."""
        return rendered.to_text(self.panel.twin())

    def html_twin(self) -> str:
        """Return the conversation as HTML."""
        return rendered.to_html(self.panel.twin())

    def twin_delay(self) -> float:
        """Return how many seconds the saved output may be behind."""
        return max(super().twin_delay(), len(self.twin.get("text/html", "")) / TWIN_BYTES_PER_S)

    def close(self) -> None:
        """Close the panel; what is being written goes on, calls that wait are refused."""
        self._unsubscribe()
        self._approvals.close()
        super().close()

    # --- what the page asks for -----------------------------------------------------------------------

    def _send_message(self, said: Said) -> None:
        typed = text(said, "text", _LONGEST)
        if not typed.strip():
            return
        if self.panel.tools:
            if self._run is not None and not self._run.done:
                raise ModelBusy(
                    "The model is at work with your functions.", "Answer what it asks, or stop it."
                )
            run = self._run = self._ask("tools", self.panel.send_with_tools, typed, self._approvals.ask)
            threading.Thread(target=self.guard(self._await), args=(run,), daemon=True).start()
        else:
            self._ask("chat", self.panel.send, typed)
        self._accept(said)

    def _await(self, run: ToolRun) -> None:
        """Show that a run with tools is at its end, and what went wrong."""
        try:
            run.wait()
        finally:
            self.refresh()

    def _edit(self, said: Said) -> None:
        typed = text(said, "text", _LONGEST)
        if typed.strip():
            self._ask("edit", self.panel.edit, text(said, "id"), typed)
            self._accept(said)

    def _branch(self, said: Said) -> None:
        position, token = whole(said, "position"), whole(said, "token")
        if position is not None and token is not None and position >= 0:
            self._ask("branch", self.panel.branch, text(said, "id"), position, token)

    def _ask(self, kind: str, ask: Callable[..., Any], *arguments: Any) -> Any:
        """Ask for a reply that this panel shows, not the cell that made it."""
        thread = threading.get_ident()
        self._asking[thread] = kind
        try:
            with live.shown_elsewhere():
                return ask(*arguments)
        finally:
            self._asking.pop(thread, None)

    def _accept(self, said: Said) -> None:
        """Tell the page that what was typed has arrived: `page` says which of several pages typed it."""
        self.send({"kind": "accepted", "page": text(said, "page")})

    def _stop(self) -> None:
        if self._run is not None:
            self._run.stop()
        for reply in self._replies[:1]:
            reply.stop()

    def _set_system(self, said: Said) -> None:
        self.panel.chat.system = text(said, "text", _LONGEST).strip() or None

    def _move(self, move: Callable[[str], None], said: Said) -> None:
        """Do what leads to another chat, and show what is under way there."""
        name = text(said, "name").strip()
        if name:
            move(name)
            self.error = self.panel.gone
            self._replies = self.panel.under_way()
            self._show_sampling()
            self.refresh()

    def _switch(self, said: Said) -> None:
        """Have another adapter answer; in a thread, since what is being written comes first."""
        name = text(said, "name")
        threading.Thread(target=self.guard(self._switch_to), args=(name,), daemon=True).start()

    def _switch_to(self, name: str) -> None:
        try:
            self.panel.use_adapter(name)
        finally:
            self.refresh()

    def _set(self, said: Said) -> None:
        value = number(said, "value")
        if value is not None or said.get("value") is None:
            self.panel.set_sampling(text(said, "name"), value)

    def _want(self, said: Said) -> None:
        wanted = texts(said, "ids", _MOST_ASKED)
        self.send({"kind": "contents", "items": conversation.contents(self.panel.chat, wanted)})

    def _tokens(self, said: Said) -> None:
        node_id = text(said, "id")
        self.send({"kind": "tokens", "id": node_id, "tokens": self.panel.tokens(node_id)})

    # --- what happens -----------------------------------------------------------------------------------

    def _watch(self, event: events.Event) -> None:
        if self.comm is None:
            return
        match event:
            case events.ReplyAdvanced(reply) | events.Waiting(reply):
                writing = self._writing
                if writing is not None and writing.reply is reply:
                    writing.advance(event)
            case events.ReplyStarted(reply) if self.panel.owns(reply):
                if kind := self._asking.get(threading.get_ident()):
                    self._kinds[reply] = kind
                self._replies.append(reply)
                self.refresh()
            case events.ReplyEnded(reply) if reply.chat == self.panel.name:
                self._end(reply)
            case events.ChatChanged(chat) if chat is self.panel.chat or self._others_changed():
                self.refresh()
            case events.AdaptersChanged(model) if model is self.panel.model:
                self.refresh()
            case events.ModelsChanged():
                if self.panel.follow():
                    self.error = ""
                self._show_sampling()
                self.refresh()
            case events.SamplingChanged():
                self._show_sampling()

    def _others_changed(self) -> bool:
        """Whether a chat was made or deleted."""
        return list(self.panel.model.chats) != self.head.get("chats")

    def _end(self, reply: Reply) -> None:
        """Show that a reply is done, and what went wrong; give back a message that nothing came of."""
        self.refresh()
        asked = self._asked.pop(reply, None)
        if self._kinds.pop(reply, None) is None:
            return  # a cell asked for it, and shows what went wrong
        if reply.error is not None:
            self.fail(reply.error)
        if asked is not None and not reply.text and all(step["id"] != asked for step in self.path["steps"]):
            self.send({"kind": "returned", "text": conversation.safe(reply.user or "")})

    def _live(self, growing: Reply | None) -> dict[str, Any]:
        """Return what is being written, or which call waits or runs."""
        if growing is None:
            pending = self._approvals.pending()
            if not pending and (self._run is None or self._run.done):
                return {}
            return {"asked": self.panel.chat.head or "", "kept": 0, "kind": "tools", **pending}
        if growing not in self._asked and (asked := self.panel.asked(growing)):
            self._asked[growing] = asked
        begun = growing.begun
        return {
            "asked": self._asked.get(growing, ""),
            "kept": len(begun),
            "kind": self._kinds.get(growing, "chat"),
        }

    def _show_sampling(self) -> None:
        with self._lock:
            self.sampling = self.panel.sampling()


def show(
    model: Model,
    chat: str | None = None,
    tools: Mapping[str, Callable[..., Any]] | None = None,
    output: Output | None = None,
) -> ChatPanel:
    """Display a new panel."""
    return live_view.show(ChatPanel(Panel(model, chat, tools)), output)
