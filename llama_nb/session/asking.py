"""What a user hands to a chat, checked and turned into messages."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from llama_nb.core.errors import MessageError, UnsupportedError
from llama_nb.core.messages import Message, parse_messages

_SURROGATE: Final = re.compile("[\ud800-\udfff]")

Asked = str | Iterable[Message | Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Question:
    """New messages without the system prompt, which is None where none was given.

    `whole` says that they are a conversation of their own, not one more message.
    """

    messages: tuple[Message, ...]
    system: str | None
    whole: bool

    @property
    def text(self) -> str:
        """The message that is answered."""
        return self.messages[-1].content


def read_question(asked: Asked, system: str | None) -> Question:
    """Read a text, or a conversation as Messages or dicts.

    Raises
    ------
    MessageError
        If there is nothing to send, or an item is malformed (its index and key are named).
    """
    if system is not None and not isinstance(system, str):
        raise MessageError(f"system is a {type(system).__name__}, not text.")
    if system is not None:
        check_text(system, "The system prompt")
    if isinstance(asked, str):
        check_text(asked, "The message")
        if not asked.strip():
            raise MessageError(
                "Nothing to send: the message is empty.", "Write it below the magic, or m.chat('Hello')."
            )
        return Question((Message("user", asked),), system, whole=False)
    if isinstance(asked, Mapping | bytes) or not isinstance(asked, Iterable):
        raise MessageError(
            f"The message is a {type(asked).__name__}, not text.",
            'Give a text, or a list of messages like {"role": "user", "content": "..."}.',
        )
    return _read_conversation(parse_messages(asked), system)


def _read_conversation(messages: tuple[Message, ...], system: str | None) -> Question:
    for index, message in enumerate(messages):
        check_text(message.content, f"messages[{index}]")
    if messages[0].role == "system":
        if system is not None:
            raise MessageError(
                "There are two system prompts: messages[0] and system=.", "Leave one of them out."
            )
        system = messages[0].content
    for index, message in enumerate(messages[1:], start=1):
        if message.role == "system":
            raise MessageError(
                f"messages[{index}] is a second system prompt.", "Only the first message can be one."
            )
    if messages[-1].role == "system":
        raise MessageError("Nothing to send: there is only a system prompt.")
    if messages[-1].role == "assistant":
        raise MessageError(
            f"messages[{len(messages) - 1}] is the assistant's: there is nothing to answer.",
            "End the conversation with a message whose role is user or tool.",
        )
    if not messages[-1].content.strip():
        raise MessageError("Nothing to send: the last message is empty.")
    turns = messages[1:] if messages[0].role == "system" else messages
    return Question(turns, system, whole=True)


def check_text(text: str, what: str) -> None:
    """Raise MessageError if `text` holds half of a surrogate pair, which no tokenizer takes."""
    broken = _SURROGATE.search(text)
    if broken is not None:
        raise MessageError(
            f"{what} holds half of a character, {broken.group()!r}, at position {broken.start()}.",
            "It was cut or decoded wrongly; text.encode('utf-8', 'replace').decode() makes it sendable.",
        )


def refuse_images(images: object, model: str) -> None:
    """Raise UnsupportedError if there are images: no engine of this version takes them."""
    if images is not None and images != () and images != []:
        raise UnsupportedError(
            f"{model} reads text only, so the image was not sent.",
            "Images need a vision model (Llama 3.2 Vision or Llama 4) on an engine that takes them.",
        )
