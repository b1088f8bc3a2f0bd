"""What the model sees, as a value: the rendered prompt, its tokens, and what of it is cached."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llama_nb.core.errors import MessageError
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.session.asking import read_question
from llama_nb.session.chat import Chat

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine


@dataclass(frozen=True, slots=True)
class MessageTokens:
    """How many tokens one message takes, its header included."""

    role: str
    tokens: int


@dataclass(frozen=True, slots=True)
class PromptView:
    """A prompt as it enters the model.

    Attributes
    ----------
    text
        The rendered text, control tokens written out.
    ids, texts, special
        Each token's id, what it shows as, and whether it is a control token.
    messages
        Tokens per message, in order; a last row with the role "answer" is the header that asks for it.
    cached
        How many leading tokens the chat's KV cache holds: they are not computed again.
    context
        The model's context, in tokens.
    """

    text: str
    ids: tuple[int, ...]
    texts: tuple[str, ...]
    special: tuple[bool, ...]
    messages: tuple[MessageTokens, ...]
    cached: int
    context: int

    def to_dict(self) -> dict[str, Any]:
        """Return the view as JSON values, one dict a token."""
        rows = zip(self.ids, self.texts, self.special, strict=True)
        return {
            "text": self.text,
            "tokens": [{"id": token, "text": text, "special": special} for token, text, special in rows],
            "messages": [{"role": row.role, "tokens": row.tokens} for row in self.messages],
            "cached": self.cached,
            "context": self.context,
        }

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from llama_nb.render.prompt import prompt_bundle

        return prompt_bundle(self.to_dict())

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"PromptView({len(self.ids)} tokens, {self.cached} of them cached, context {self.context})"


def chat_request(chat: Chat, text: str | None, system: str | None) -> Request:
    """Return a request for the chat as it stands, or as it would be sent with `text` next.

    Functions that were offered for the last answer belong to the chat as it stands.

    Raises
    ------
    MessageError
        If the chat is empty and there is no text.
    """
    system = chat.system if system is None else system or None
    head = (Message("system", system),) if system else ()
    path = tuple(node.message for node in chat.path())
    asked = read_question(text, None).messages if text is not None else ()
    if not path and not asked:
        raise MessageError(
            f"Chat {chat.name!r} is empty: there is no prompt yet.",
            'Try %llama prompt "Hello", or chat first.',
        )
    ends_with_reply = not asked and path[-1].role == "assistant"
    last = chat.reply(chat.head) if chat.head is not None and not asked else None
    tools = last.request.tools if last is not None and last.request is not None else ()
    return Request(
        (*head, *path, *asked), tools=tools, continue_last=ends_with_reply, cache_key=chat.cache_key
    )


def view_prompt(engine: "Engine", request: Request, cache_key: str) -> PromptView:
    """Return the view of what `request` would send."""
    prompt = engine.prompt(request)
    # The rows share out all tokens: what stands before a message's header counts with the message.
    ends = [0, *(span.end for span in prompt.spans)]
    rows = [MessageTokens(span.role, span.end - end) for span, end in zip(prompt.spans, ends, strict=False)]
    if prompt.spans and ends[-1] < len(prompt.ids):
        rows.append(MessageTokens("answer", len(prompt.ids) - ends[-1]))
    return PromptView(
        text=prompt.text,
        ids=prompt.ids,
        texts=tuple(engine.token_texts(prompt.ids)),
        special=tuple(engine.is_special(token) for token in prompt.ids),
        messages=tuple(rows),
        cached=engine.cached_tokens(cache_key, prompt.ids),
        context=engine.context,
    )
