"""What the sampling laboratory stands on: the tokens of a reply or of a text, and the places between them.

Knows replies, chats and how a place is found; knows no sampling and no page.
"""

import dataclasses
import math
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from llama_nb.core.errors import MessageError, UnsupportedError
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.session.ablating import refuse_in_block
from llama_nb.session.asking import check_text
from llama_nb.session.chat import Chat
from llama_nb.session.next_token import Place, find_place
from llama_nb.session.reply import Reply
from llama_nb.session.why import WhyView

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine
    from llama_nb.session.model import Model

Kind = Literal["reply", "text", "chat"]

_LOOKED_THROUGH: Final = 300  # tokens among which the first place to show is chosen
_FEW: Final = 64  # tokens that are computed again rather than kept in a cache


@dataclass(frozen=True, slots=True)
class Walked:
    """One token: what it shows as, and how likely and how unsure the model was, where that is known."""

    id: int
    text: str
    special: bool
    logprob: float | None = None
    entropy: float | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """Tokens to walk through.

    Attributes
    ----------
    kind
        "reply", "text", or "chat": the end of a conversation, without tokens of its own.
    title
        What it is: "reply in chat main".
    tokens
        A place stands before each of them and behind the last; `first` is the earliest that can be looked at.
    reply, text, chat
        One of them, by kind.
    """

    kind: Kind
    title: str
    tokens: tuple[Walked, ...] = ()
    first: int = 0
    reply: Reply | None = None
    text: str = ""
    chat: Chat | None = None

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of the tokens."""
        return tuple(token.id for token in self.tokens)

    @property
    def start(self) -> int:
        """Where one looks first: where the model was least sure, at the end of a text."""
        if self.kind != "reply":
            return len(self.tokens)
        looked = range(min(len(self.tokens), _LOOKED_THROUGH))
        return max(looked, key=lambda at: self.tokens[at].entropy or 0.0, default=0)

    def check(self, position: int | None) -> int:
        """Return a position that there is; negative ones count from the end, None is `start`.

        Raises
        ------
        MessageError
            If there is no such place.
        """
        count = len(self.tokens)
        if position is None:
            return self.start
        if isinstance(position, bool) or not isinstance(position, int):
            raise MessageError(f"position is {position!r}; it must be a whole number.")
        at = position + count if position < 0 else position
        if not self.first <= at <= count:
            raise MessageError(
                f"There is no position {position} in the {self.title}: from {self.first} to {count:,}.",
                "Negative positions count from the end.",
            )
        return at

    def context(self, position: int, tokens: int = 16) -> str:
        """Return the text of the tokens right before a place."""
        return "".join(token.text for token in self.tokens[max(0, position - tokens) : position])


class Places:
    """The places of a subject in a model whose cache holds what stands before them.

    A look at a place then computes one token. Where the chat's own cache does not hold the prompt, one of the
    laboratory's is filled.
    """

    def __init__(self, engine: "Engine", subject: Subject) -> None:
        self._engine, self._subject = engine, subject
        self._own_key = f"laboratory-{secrets.token_hex(4)}"

    def find(self, position: int, stop: StopFlag) -> Place:
        """Return a place, with a cache that holds what stands before it unless `stop` was set meanwhile."""
        place = self._place(position)
        prompt = self._engine.prompt(place.request).ids
        before = (*prompt, *place.after)
        key = place.request.cache_key
        if key is None or self._engine.cached_tokens(key, prompt) + _FEW < len(prompt):
            key = self._own_key
        if self._engine.cached_tokens(key, before) + _FEW < len(before):
            self._fill(key, (*before, *self._subject.ids[position:]), stop)
        return dataclasses.replace(place, request=dataclasses.replace(place.request, cache_key=key))

    def forget(self) -> None:
        """Give the laboratory's own cache back."""
        self._engine.forget(self._own_key)

    def _place(self, position: int) -> Place:
        subject = self._subject
        at_end = position == len(subject.tokens)
        if subject.kind == "text":
            chosen = None if at_end else subject.tokens[position].id
            name = "the next token" if at_end else f"token {position} of the text"
            return Place(Request(subject.ids[:position]), (), name, chosen)
        if subject.kind == "reply":
            return find_place(self._engine, subject.reply, None if at_end else position, None, None)
        return find_place(self._engine, None, None, None, subject.chat)

    def _fill(self, key: str, ids: tuple[int, ...], stop: StopFlag) -> None:
        request = Request(
            ids[: self._engine.context - 1],
            Sampling(temperature=0, max_tokens=1),
            cache_key=key,
            alternatives=0,
            purpose="the sampling laboratory",
        )
        for _ in self._engine.stream(request, stop):
            pass


def reply_subject(reply: Reply) -> Subject:
    """Return the tokens of a reply.

    Raises
    ------
    MessageError
        If it has none whose ids and request are known.
    """
    view = WhyView(reply)
    if reply.request is None or not view.tokens:
        raise MessageError("This reply has no tokens with ids.", "Another engine or another reply has.")
    tokens = [
        Walked(token.id, token.text, token.special, token.logprob, token.entropy) for token in view.tokens
    ]
    where = f"reply in chat {reply.chat}" if reply.chat else "reply"
    return Subject("reply", where, tuple(tokens), reply=reply)


def text_subject(engine: "Engine", text: str) -> Subject:
    """Return the tokens of a text that goes on.

    Raises
    ------
    MessageError
        If it is empty or longer than the context.
    """
    if not text.strip():
        raise MessageError("There is no text to look at.", 'An example: %llama sampling "Once upon a time"')
    check_text(text, "The text")
    ids = engine.prompt(Request(text)).ids
    if len(ids) >= engine.context:
        raise MessageError(
            f"The text has {len(ids):,} tokens, and the context of {engine.name} is {engine.context:,}.",
            "Shorten it.",
        )
    texts = engine.token_texts(ids)
    tokens = [Walked(id_, said, engine.is_special(id_)) for id_, said in zip(ids, texts, strict=True)]
    return Subject("text", "text", tuple(tokens), first=1, text=text)


def chat_subject(chat: Chat) -> Subject:
    """Return the end of a chat."""
    return Subject("chat", f"chat {chat.name}", chat=chat)


def find_subject(model: "Model", given: str | Reply | None = None, *, chat: str | None = None) -> Subject:
    """Return what a call means: a text or reply that is given, else the newest reply, of `chat` if named.

    Raises
    ------
    MessageError
        If there is nothing to look at yet.
    UnsupportedError
        If the model's engine does not show its logits, or a part of it is turned off.
    """
    engine = model.engine
    if not engine.capabilities.introspect:
        raise UnsupportedError(
            f"The laboratory needs the logits of {engine.name}, which are not in this kernel.",
            "Load a model into this kernel: %llama load cria",
        )
    refuse_in_block(model, "The laboratory")
    if isinstance(given, Reply):
        return reply_subject(given)
    if given:
        return text_subject(engine, given)
    if chat is None:
        if model.last is None:
            raise MessageError(
                "There is no reply to look at yet.",
                'Chat first, or name a text: %llama sampling "Once upon a time"',
            )
        return reply_subject(model.last)
    talk = model.chats.get(chat)
    if talk is None or talk.head is None:
        raise MessageError(f"Chat {chat!r} is empty: there is nothing to look at.", f"%%llama --chat {chat}")
    held = talk.reply(talk.head)
    return reply_subject(held) if held is not None and _walkable(held) else chat_subject(talk)


def with_chances(subject: Subject, found: list[tuple[float, float]]) -> Subject:
    """Return the subject with what was computed of its second and later tokens so far."""
    known = [dataclasses.replace(token, logprob=p, entropy=h) for token, (p, h) in _pairs(subject, found)]
    rest = subject.tokens[1 + len(known) :]
    return dataclasses.replace(subject, tokens=(*subject.tokens[:1], *known, *rest))


def chance(logprob: float | None) -> float | None:
    """Return a probability, to five digits."""
    return None if logprob is None else float(f"{math.exp(logprob):.5g}")


def _pairs(subject: Subject, found: list[tuple[float, float]]) -> Any:
    return zip(subject.tokens[1:], found, strict=False)


def _walkable(reply: Reply) -> bool:
    return reply.request is not None and any(token.id is not None for token in reply.tokens)
