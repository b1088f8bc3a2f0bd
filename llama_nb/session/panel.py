"""What a chat panel is about, without widgets: a model, one of its chats, and what can be done with them.

Who changes a model or a chat elsewhere (a cell, another panel) tells it by events; `follow` takes that up.
How messages are sent and branches are made is the model's business.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from llama_nb.core.adapter import NO_ADAPTER
from llama_nb.core.errors import LlamaError, ModelGone, did_you_mean
from llama_nb.core.messages import Message
from llama_nb.loading.source import bundled
from llama_nb.planner.fit import gigabytes
from llama_nb.render.conversation import ConversationTwin
from llama_nb.render.reply import model_name
from llama_nb.session import conversation, registry
from llama_nb.session.chat import Chat
from llama_nb.session.chat_book import MAIN
from llama_nb.session.controls import CORE, apply, sampling_state
from llama_nb.session.model import Model
from llama_nb.session.reply import Reply
from llama_nb.session.store import FOLDER, keeps_chats
from llama_nb.session.tools import Approve, ToolRun

FORMATS: Final[Mapping[str, str]] = {
    "markdown": ".md",
    "json": ".json",
    "messages": ".json",
    "notebook": ".ipynb",
    "rows": ".jsonl",
}

# What the bundled models know, and what others are good for.
_CRIA_KNOWS: Final = (
    "What is grouped-query attention?",
    "What is 17 + 25?",
    "Tell me a story about Ada and a fox.",
)
_OTHERS_KNOW: Final = (
    "Explain temperature and top-p in three sentences.",
    "Write a Python function that checks an ISBN, with a test.",
    "What can you help me with?",
)


class Panel:
    """A place to talk: one chat of one model. Every method may be called from any thread.

    Attributes
    ----------
    model
        Who answers. It may have been unloaded; its chats are there even so.
    name
        The chat's name.
    tools
        Functions that the model may ask to have called, by name.
    notes
        Sentences of the panel's own, by the id of the message below which they stand.
    """

    def __init__(
        self, model: Model, chat: str | None = None, tools: Mapping[str, Callable[..., Any]] | None = None
    ) -> None:
        self.model = model
        self.name = model.chats.open(chat).name
        self.tools = dict(tools or {})
        self.notes: dict[str, list[str]] = {}

    # --- what it shows ------------------------------------------------------------------------------

    @property
    def chat(self) -> Chat:
        """The chat; the current one if it was deleted elsewhere."""
        book = self.model.chats
        if self.name not in book:
            self.name = book.current if book.current in book else MAIN
        return book.open(self.name)

    @property
    def gone(self) -> str:
        """What to say when the model is not loaded any more; else nothing."""
        try:
            self.model.loaded  # noqa: B018 - says what is wrong
        except ModelGone as gone:
            return str(gone)
        return ""

    def head(self) -> dict[str, Any]:
        """Return what stands around the conversation."""
        model, chat = self.model, self.chat
        held = registry.loaded()
        current = registry.current() if held else None
        return {
            "chat": chat.name,
            "model": shown(model),
            "detail": _detail(model),
            "alive": model.alive,
            "base": model.alive and not model.engine.has_chat_template,
            "ideas": list(_CRIA_KNOWS if model.source in bundled() else _OTHERS_KNOW),
            "chats": list(model.chats),
            "models": [
                {"name": name, "detail": _detail(other), "current": other is current}
                for name, other in held.items()
            ],
            "adapters": {"names": list(model.adapters.names), "label": model.adapters.label},
            "system": conversation.safe(chat.system or ""),
            "context": {"used": self.used(), "total": model.context},
            "kept": _kept(chat),
            "tools": list(self.tools),
            "where": _where(chat),
        }

    def steps(self) -> list[dict[str, Any]]:
        """Return the conversation's messages."""
        return conversation.steps(self.chat, self.notes)

    def sampling(self) -> dict[str, Any]:
        """Return the session's sampling as controls."""
        return sampling_state(self.model)

    def used(self) -> int:
        """Return how many tokens of the context the conversation takes, as far as its last reply says."""
        path = self.chat.path()
        for node in reversed(path):
            usage = node.reply.get("usage") if isinstance(node.reply, Mapping) else None
            if not isinstance(usage, Mapping):
                continue
            counts = [usage.get("prompt"), usage.get("completion")]
            if conversation.fingerprint(node) == self.model.fingerprint and all(
                type(count) is int for count in counts
            ):
                return sum(counts)  # type: ignore[arg-type]
            break
        return self._count(self.chat.messages()) if path else 0

    def tokens(self, node_id: str) -> list[list[Any]]:
        """Return the tokens of an answer, with alternatives.

        Raises
        ------
        LlamaError
            If they are not in memory any more.
        """
        node = self.chat.find(node_id)
        reply = self.chat.reply(node.id)
        if reply is None:
            raise LlamaError(
                "The tokens of this answer are not in memory any more.",
                "Ask for another version of it: its alternatives are recorded anew.",
            )
        return conversation.token_rows(reply)

    def owns(self, reply: Reply) -> bool:
        """Whether a reply that has just been asked for is one of this chat."""
        return reply.chat == self.name and any(each is reply for each in self.model.active)

    def under_way(self) -> list[Reply]:
        """Return the replies of this chat that are being made or wait, the first one first."""
        return [reply for reply in self.model.active if reply.chat == self.name and not reply.done]

    def asked(self, reply: Reply) -> str:
        """Return the id of the message that a reply answers, which is in the conversation; "" if none is."""
        path = self.chat.path()
        if path and path[-1].message.role in ("user", "tool"):
            return path[-1].id
        hits = [
            node.id for node in path if node.message.role == "user" and node.message.content == reply.user
        ]
        return hits[-1] if hits else ""

    def twin(self) -> ConversationTwin:
        """Return the conversation as a page without a kernel shows it."""
        chat, model = self.chat, shown(self.model)
        turns = conversation.turns(chat, self.notes, model)
        return ConversationTwin(chat.name, model, chat.system or "", turns)

    # --- what is done in it ---------------------------------------------------------------------------

    def send(self, text: str) -> Reply:
        """Send a message; the reply grows in the background."""
        return self.model.chat(text, chat=self.name, background=True)

    def retry(self, node_id: str) -> Reply:
        """Ask for another version of an answer."""
        return self.model.retry(**self._at(node_id))

    def edit(self, node_id: str, text: str) -> Reply:
        """Send a user's message in another wording, as a branch."""
        return self.model.edit(text, **self._at(node_id))

    def branch(self, node_id: str, position: int, token: int) -> Reply:
        """Go on from `token` in the place of an answer's token number `position`."""
        return self.model.branch(position, token, **self._at(node_id))

    def go_on(self, node_id: str) -> Reply:
        """Go on with an answer that was cut short."""
        return self.model.go_on(**self._at(node_id))

    def send_with_tools(self, text: str, approve: Approve) -> ToolRun:
        """Send a message; the model may ask for calls of the panel's functions, each allowed by `approve`."""
        tools = list(self.tools.values())
        return self.model.tools(text, tools, approve=approve, chat=self.name, background=True)

    def goto(self, node_id: str, *, tip: bool = False) -> None:
        """Let the conversation end at a message; with `tip`, at the end of what follows it."""
        chat = self.chat
        chat.goto(chat.tip(node_id) if tip else node_id)

    def use_chat(self, name: str) -> None:
        """Show another chat; cells go there from now on, too."""
        self.model.chats.use(name)
        self.name = name

    def new_chat(self, name: str) -> None:
        """Begin a chat and show it."""
        book = self.model.chats
        if name in book:
            raise LlamaError(f"There is a chat {name!r} already.", "Choose it in the list, or another name.")
        book.open(name)
        self.use_chat(name)

    def delete_chat(self, name: str) -> None:
        """Forget a chat, in memory and on the disk."""
        self.model.chats.delete(name)
        if name == self.name:
            self.name = self.model.chats.current

    def use_model(self, name: str) -> None:
        """Let another loaded model answer; cells ask it from now on, too.

        When it has no conversation of this chat's name, this one is carried over.
        """
        held = registry.loaded()
        if name not in held:
            there = f"Loaded: {', '.join(held)}." if held else "Load one: %llama load cria"
            raise LlamaError(f"No loaded model is called {name!r}.", did_you_mean(name, held) or there)
        self._move_to(registry.use(name))

    def use_adapter(self, name: str) -> None:
        """Let an adapter of the model answer from now on, "off" for none; waits for what is being written.

        Raises
        ------
        AdapterError
            If the model has none of this name.
        """
        adapters = self.model.adapters
        if name == NO_ADAPTER:
            adapters.off()
        else:
            adapters.use(name)

    def follow(self) -> bool:
        """Take over the model of the same name that was loaded in the place of an unloaded one, if any."""
        there = registry.loaded().get(self.model.name)
        if self.model.alive or there is None:
            return False
        self._move_to(there)
        return True

    def set_sampling(self, name: str, value: Any) -> None:
        """Set a sampling parameter of the session; None is its default."""
        if value is None:
            apply({}, clear=[name])
        else:
            apply({name: value})

    def use_preset(self, name: str) -> None:
        """Set the sampling parameters of a preset for the session."""
        apply({"preset": name})

    def export(self, form: str) -> dict[str, str]:
        """Return the conversation as a file's name and text."""
        if form not in FORMATS:
            raise LlamaError(f"There is no format {form!r}.", f"There are: {', '.join(FORMATS)}.")
        chat = self.chat
        name = "".join(sign if sign.isalnum() or sign in "-_ " else "_" for sign in chat.name)
        text = conversation.safe(chat.export(form))  # type: ignore[arg-type]
        return {"format": form, "name": f"{name}{FORMATS[form]}", "text": text}

    def _at(self, node_id: str) -> dict[str, Any]:
        """Return the options of a new version: its place, and which sliders were moved since."""
        node = self.chat.find(node_id)
        record = node.reply if isinstance(node.reply, Mapping) else {}
        before = record.get("sampling")
        now = self.model.sampling
        moved = {
            name: getattr(now, name)
            for name in CORE
            if isinstance(before, Mapping) and before.get(name) != getattr(now, name)
        }
        return {"chat": self.name, "at": node.id, "background": True, **moved}

    def _move_to(self, model: Model) -> None:
        """Show the chat of the same name of another model; an empty one gets this conversation."""
        before, there = self.chat, model.chats.open(self.name)
        old, self.model = self.model, model
        if old is model or there.nodes or not before.nodes:
            return
        there.fill(before.nodes.values(), head=before.head)
        there.system = before.system
        if there.head is not None:
            came = shown(old) if old.name != model.name else "the model that was unloaded"
            self.notes.setdefault(there.head, []).append(
                f"Carried over from {came}: {shown(model)} answers from here on."
            )

    def _count(self, messages: tuple[Message, ...]) -> int:
        if not self.model.alive:
            return 0
        try:
            return self.model.engine.count_tokens(messages)
        except LlamaError:  # a base model counts no messages
            return 0


def shown(model: Model) -> str:
    """Return a model's name; of a path only its last part."""
    return model_name({"model": {"name": model.name}})


def _detail(model: Model) -> str:
    if not model.alive:
        return "unloaded"
    return f"{model.quant or model.dtype} on {model.device} · {gigabytes(model.bytes)}"


def _kept(chat: Chat) -> bool:
    return chat.journal is not None and keeps_chats()


def _where(chat: Chat) -> str:
    """Say where the chat is kept, without a path of this machine."""
    if chat.journal is None or not keeps_chats():
        return "Kept in memory only."
    parts = chat.journal.file(chat).parts
    inside = parts[parts.index(FOLDER) :] if FOLDER in parts else parts[-1:]
    return f"Kept on this disk, beside the notebook: {'/'.join(inside)}"
