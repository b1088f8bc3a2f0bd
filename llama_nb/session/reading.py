"""What a model read, for those who look inside: the tokens of a text, of a reply with its prompt, of a chat.

Knows replies, chats and prompts; knows nothing of what is looked at.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llama_nb.core.errors import ContextOverflow, MessageError, UnsupportedError
from llama_nb.core.request import Request
from llama_nb.engines.base import PromptSpan
from llama_nb.session.asking import check_text
from llama_nb.session.chat import Chat
from llama_nb.session.next_token import find_place
from llama_nb.session.prompt_view import chat_request
from llama_nb.session.reply import Reply

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine
    from llama_nb.session.model import Model


@dataclass(frozen=True, slots=True)
class Reading:
    """Token ids as they go through a model.

    Attributes
    ----------
    title
        What it is: "text", "reply in chat main", "chat main".
    ids, texts, special
        Each token's id, what it shows as, and whether it is a control token.
    prompt
        How many leading tokens the model was given; it wrote the rest itself.
    spans
        The tokens of each message of the prompt; none in a text.
    """

    title: str
    ids: tuple[int, ...]
    texts: tuple[str, ...]
    special: tuple[bool, ...]
    prompt: int
    spans: tuple[PromptSpan, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


def find_reading(
    model: "Model", given: "str | Reply | Chat | None" = None, *, chat: str | None = None, what: str
) -> Reading:
    """Return what a call means: a text, a reply or a chat that is given, else the newest reply.

    Parameters
    ----------
    given
        A text is tokenised as it is, as `complete` does.
    chat
        Name of the chat whose newest reply is meant.
    what
        What wants to look inside, for messages: "attention".

    Raises
    ------
    UnsupportedError
        If the weights are not in this kernel.
    MessageError, ContextOverflow
        If there is nothing to read, or more than the context.
    """
    engine = model.engine
    check_weights(engine, what)
    if given is not None and chat is not None:
        raise MessageError(f"{what}: there is a text or reply, and a chat.", "Give one of them.")
    if isinstance(given, str):
        return _text(engine, given, what)
    if isinstance(given, Reply):
        return _reply(engine, given)
    if isinstance(given, Chat):
        return _chat(engine, given)
    if given is not None:
        raise MessageError(f"{what} looks at a text, a Reply or a Chat, not at {given!r:.40}.")
    if chat is not None:
        return _chat(engine, model.chats.get(chat) or Chat(chat))
    if model.last is None:
        raise MessageError("There is no reply yet.", f"Chat first, or name a text: {_example(what)}")
    return _reply(engine, model.last)


def check_weights(engine: "Engine", what: str) -> None:
    """Raise UnsupportedError, naming `what` needs them, unless the engine's weights are in this kernel."""
    if not engine.capabilities.introspect:
        raise UnsupportedError(
            f"{what} needs the weights of {engine.name} in this kernel.",
            "Load a model into it: %llama load cria",
        )


def _example(what: str) -> str:
    """Return a line or call that names a text, for messages."""
    known = {
        "ablate": 'm.ablation("Once upon a time", heads=[(3, 5)])',
        "patch": 'm.patch("The sky is", "The sea is")',
        "route": 'm.routing_effect("Once upon a time", ban=[(3, 2)])',
    }
    return known.get(what, f'%llama {what} "Once upon a time"')


def _text(engine: "Engine", text: str, what: str) -> Reading:
    if not text.strip():
        raise MessageError("There is no text to look at.", f"An example: {_example(what)}")
    check_text(text, "The text")
    ids = engine.prompt(Request(text)).ids
    return _reading(engine, "text", ids, len(ids))


def _reply(engine: "Engine", reply: Reply) -> Reading:
    place = find_place(engine, reply, None, None, None)
    prompt = engine.prompt(place.request)
    title = f"reply in chat {reply.chat}" if reply.chat else "reply"
    return _reading(engine, title, (*prompt.ids, *place.after), len(prompt.ids), prompt.spans)


def _chat(engine: "Engine", chat: Chat) -> Reading:
    held = chat.reply(chat.head) if chat.head is not None else None
    if held is not None and held.request is not None and any(token.id is not None for token in held.tokens):
        return _reply(engine, held)
    prompt = engine.prompt(chat_request(chat, None, None))
    return _reading(engine, f"chat {chat.name}", prompt.ids, len(prompt.ids), prompt.spans)


def _reading(
    engine: "Engine", title: str, ids: tuple[int, ...], prompt: int, spans: tuple[PromptSpan, ...] = ()
) -> Reading:
    if len(ids) > engine.context:
        raise ContextOverflow(
            f"The {title} has {len(ids):,} tokens; the context of {engine.name} is {engine.context:,}.",
            "Shorten it, or load a model with a longer context.",
        )
    special = tuple(engine.is_special(token) for token in ids)
    return Reading(title, ids, tuple(engine.token_texts(ids)), special, prompt, spans)
