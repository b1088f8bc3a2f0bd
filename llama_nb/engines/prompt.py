"""A request's input to token ids: chat templates, control tokens kept as text, no doubled beginning.

Knows the tokenizer, not the model.
"""

import dataclasses
import itertools
import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from llama_nb.core.errors import MessageError, TemplateError, UnsupportedError
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.engines.base import Prompt, PromptSpan
from llama_nb.engines.control_text import ControlText, free_marks
from llama_nb.engines.templates import TemplateRenderer

_MOST_RENDERINGS = 64  # of one prompt, to find where its messages end
_BYTES_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>\Z")


class PromptBuilder:
    """Renders and tokenises for one model.

    Parameters
    ----------
    tokenizer
        A transformers tokenizer with a `tokenizers` backend.
    template
        The chat template, None for a base model.
    name
        The model's name, for messages.
    trusted
        The template comes with this package.
    date
        What templates that write a date write (their `date_string`); None: today's.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: str | None,
        name: str,
        *,
        trusted: bool = False,
        date: str | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._name = name
        self._date = {"date_string": date} if date else {}
        self.text = ControlText(tokenizer, template)
        self.special = self.text.special
        self._renderer = TemplateRenderer(template, name, trusted=trusted) if template else None

    @property
    def has_chat_template(self) -> bool:
        """Whether messages can be rendered."""
        return self._renderer is not None

    def close(self) -> None:
        """End the template's child process."""
        if self._renderer is not None:
            self._renderer.close()

    def build(self, request: Request, *, spans: bool = True) -> Prompt:
        """Return what the model sees for `request`, the tokens that the reply begins with included.

        Raises
        ------
        UnsupportedError
            If messages are asked of a base model.
        TemplateError
            If the template fails or uses up its budget.
        """
        prompt = self._build(request, spans)
        if not request.begun:
            return prompt
        text = prompt.text + self._decode(request.begun)
        return dataclasses.replace(prompt, ids=(*prompt.ids, *request.begun), text=text)

    def _build(self, request: Request, spans: bool) -> Prompt:
        given = request.input
        if isinstance(given, str):
            ids = self.encode_text(given)
            return Prompt(ids, given)
        if all(isinstance(item, int) for item in given):
            numbers = tuple(int(item) for item in given)  # type: ignore[arg-type]
            return Prompt(numbers, self._decode(numbers))
        messages = tuple(item for item in given if isinstance(item, Message))
        return self._chat(messages, request, spans)

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._backend.decode(list(ids), skip_special_tokens=False)
        return text

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Tokenise raw text as the model was trained on it: one beginning of text, control tokens as such."""
        return self.text.encode_raw(text)

    def tokenize(self, text: str) -> tuple[int, ...]:
        """Tokenise `text`: nothing added, control tokens in it taken as plain text."""
        return self.text.encode_plain(text)

    def render(self, many: Sequence[tuple[Sequence[Any], Sequence[Any], bool]]) -> list[str | None]:
        """Return what the template makes of each (messages, tools, whether it asks for an answer).

        All but the first may fail (None).

        Raises
        ------
        TemplateError
            If the first one fails, or if the template uses up its budget.
        UnsupportedError
            If there is no template.
        """
        if self._renderer is None:
            raise UnsupportedError(
                f"{self._name} is a base model: it has no chat template, so it continues text only.",
                "Use `%%llama complete` (in Python `model.complete(text)`), or `%llama load cria` to chat.",
            )
        return self._renderer.render([self._variables(*each) for each in many])

    def _chat(self, messages: tuple[Message, ...], request: Request, spans: bool) -> Prompt:
        if not messages:
            raise MessageError("The conversation is empty: nothing to send.")
        plain = [message.to_dict() for message in messages]
        tools = [dict(tool) for tool in request.tools]
        start, end = free_marks(plain, tools)[:2]
        literal: list[str] = []
        marked = self.text.mark(plain, start, end, literal)
        marked_tools = self.text.mark(tools, start, end, literal)
        ending = ""
        if request.continue_last:
            if messages[-1].role != "assistant":
                raise MessageError(
                    f"The last message is the {messages[-1].role}'s: only an assistant's is continued."
                )
            ending = marked[-1]["content"]
            marked = marked[:-1]
        text = self.render([(marked, marked_tools, True)])[0] or ""
        ids, starts = self.text.encode_marked(text, start, end)
        if ending:  # apart, so that the prompt up to the reply is a prefix of ids, whatever the reply is
            ids += self.text.encode_marked(ending, start, end)[0]
        found: tuple[PromptSpan, ...] = ()
        if spans:
            borders = [0, *(bisect_left(starts, place) for place in self._ends(text, marked, marked_tools))]
            borders += [len(ids)] * request.continue_last
            pairs = zip(messages, borders, borders[1:], strict=False)
            found = tuple(PromptSpan(message.role, begin, close) for message, begin, close in pairs)
        clean = (text + ending).replace(start, "").replace(end, "")
        return Prompt(tuple(ids), clean, found, tuple(dict.fromkeys(literal)))

    def _ends(self, text: str, messages: Sequence[Any], tools: Sequence[Any]) -> list[int]:
        """Return where each message ends in the rendered `text`."""
        tail = free_marks(text)[0]
        # A mark behind the last letter of every message; trimming templates treat that as they did without.
        told = [{**m, "content": _behind_last_letter(m["content"], tail)} for m in messages]
        try:
            parts = (self.render([(told, tools, True)])[0] or "").split(tail)
        except TemplateError:
            parts = []
        if len(parts) == len(messages) + 1 and "".join(parts) == text:
            ends = self._turn_ends(parts)
            if ends is not None:
                return ends
        # Else message k ends where the rendering of the first k messages does, if the whole begins with that.
        count = len(messages) if len(messages) <= _MOST_RENDERINGS else 0
        many = [(messages[:number], tools, False) for number in range(1, count + 1)]
        shorter = self.render([(messages, tools, True), *many])[1:]
        ends = [0]
        for prefix in shorter:
            ends.append(
                len(prefix) if prefix and len(prefix) > ends[-1] and text.startswith(prefix) else ends[-1]
            )
        return ends[1:] or [len(text)] * len(messages)

    def _turn_ends(self, parts: Sequence[str]) -> list[int] | None:
        """Return the ends, behind the first control token after each message; None where there is none."""
        ends, place = [], 0
        for part, following in itertools.pairwise(parts):
            place += len(part)
            found = self.text.control.search(following)
            if found is None:
                return None
            ends.append(place + found.end())
        return ends

    def _variables(self, messages: Sequence[Any], tools: Sequence[Any], answer: bool) -> dict[str, Any]:
        names = {key: str(value) for key, value in self._tokenizer.special_tokens_map.items()}
        return {
            **names,
            **self._date,
            "messages": list(messages),
            "tools": list(tools) or None,
            "documents": None,
            "add_generation_prompt": answer,
        }


def _behind_last_letter(content: str, mark: str) -> str:
    length = len(content.rstrip())
    return content[:length] + mark + content[length:]


def piece_bytes(name: str) -> bytes | None:
    """Return the byte that a byte-fallback token such as `<0xF0>` stands for."""
    match = _BYTES_TOKEN.match(name)
    return bytes([int(match[1], 16)]) if match else None
