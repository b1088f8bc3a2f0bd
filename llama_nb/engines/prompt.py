"""A request's input to token ids: chat templates, control tokens kept as text, no doubled beginning.

Knows the tokenizer, not the model.
"""

import dataclasses
import itertools
import re
import threading
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from llama_nb.core.errors import MessageError, TemplateError, UnsupportedError
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.engines.base import Prompt, PromptSpan
from llama_nb.engines.templates import TemplateRenderer

# Marks around control tokens that stand in messages: private-use characters, taken where no message has them.
_MARKS = [chr(code) for code in range(0xF7A00, 0xF7B00)]
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
    """

    def __init__(self, tokenizer: Any, template: str | None, name: str, *, trusted: bool = False) -> None:
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._name = name
        self._lock = threading.Lock()
        self._renderer = TemplateRenderer(template, name, trusted=trusted) if template else None
        added = self._backend.get_added_tokens_decoder()
        self.special = frozenset(id_ for id_, token in added.items() if token.special)
        self._bos: int | None = tokenizer.bos_token_id
        written = template or ""
        control = {
            t.content for t in added.values() if t.content.strip() and (t.special or t.content in written)
        }
        longest_first = sorted(control, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

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
        with self._lock:
            ids = list(self._backend.encode(text, add_special_tokens=True).ids)
        if self._bos is not None and ids[:2] == [self._bos, self._bos]:
            del ids[0]
        return tuple(ids)

    def tokenize(self, text: str) -> tuple[int, ...]:
        """Tokenise `text`: nothing added, control tokens in it taken as plain text."""
        with self._lock:
            if self._control.search(text):
                return tuple(self._plain(text))
            return tuple(self._backend.encode(text, add_special_tokens=False).ids)

    def _chat(self, messages: tuple[Message, ...], request: Request, spans: bool) -> Prompt:
        if self._renderer is None:
            raise UnsupportedError(
                f"{self._name} is a base model: it has no chat template, so it continues text only.",
                "Use `%%llama complete` (in Python `model.complete(text)`), or `%llama load cria` to chat.",
            )
        if not messages:
            raise MessageError("The conversation is empty: nothing to send.")
        plain = [message.to_dict() for message in messages]
        tools = [dict(tool) for tool in request.tools]
        start, end = self._marks(plain, tools)
        literal: list[str] = []
        marked = _map_text(plain, lambda text: self._mark(text, start, end, literal))
        marked_tools = _map_text(tools, lambda text: self._mark(text, start, end, literal))
        ending = ""
        if request.continue_last:
            if messages[-1].role != "assistant":
                raise MessageError(
                    f"The last message is the {messages[-1].role}'s: only an assistant's is continued."
                )
            ending = marked[-1]["content"]
            marked = marked[:-1]
        text = self._renderer.render([self._variables(marked, marked_tools, True)])[0] or ""
        with self._lock:
            ids, starts = self._encode_marked(text, start, end)
            if ending:  # apart, so that the prompt up to the reply is a prefix of ids, whatever the reply is
                ids += self._encode_marked(ending, start, end)[0]
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
        assert self._renderer is not None
        tail = self._marks(text)[0]
        # A mark behind the last letter of every message; trimming templates treat that as they did without.
        told = [{**m, "content": _behind_last_letter(m["content"], tail)} for m in messages]
        try:
            parts = (self._renderer.render([self._variables(told, tools, True)])[0] or "").split(tail)
        except TemplateError:
            parts = []
        if len(parts) == len(messages) + 1 and "".join(parts) == text:
            ends = self._turn_ends(parts)
            if ends is not None:
                return ends
        # Else message k ends where the rendering of the first k messages does, if the whole begins with that.
        count = len(messages) if len(messages) <= _MOST_RENDERINGS else 0
        many = [self._variables(messages[:number], tools, False) for number in range(1, count + 1)]
        shorter = self._renderer.render([self._variables(messages, tools, True), *many])[1:]
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
            found = self._control.search(following)
            if found is None:
                return None
            ends.append(place + found.end())
        return ends

    def _variables(self, messages: Sequence[Any], tools: Sequence[Any], answer: bool) -> dict[str, Any]:
        names = {key: str(value) for key, value in self._tokenizer.special_tokens_map.items()}
        return {
            **names,
            "messages": list(messages),
            "tools": list(tools) or None,
            "documents": None,
            "add_generation_prompt": answer,
        }

    def _marks(self, *values: Any) -> tuple[str, str]:
        everything = repr(values) + "".join(_texts(values))
        free = [mark for mark in _MARKS if mark not in everything]
        return free[0], free[1]

    def _mark(self, text: str, start: str, end: str, literal: list[str]) -> str:
        def wrap(match: re.Match[str]) -> str:
            literal.append(match[0])
            return f"{start}{match[0]}{end}"

        return self._control.sub(wrap, text)

    def _encode_marked(self, text: str, start: str, end: str) -> tuple[list[int], list[int]]:
        """Return token ids and, for each, where its text starts in `text` with the marks counted."""
        ids: list[int] = []
        starts: list[int] = []
        place = 0
        for number, piece in enumerate(re.split(f"({start}[^{start}{end}]*{end}|{start}|{end})", text)):
            if number % 2 == 0 and piece:
                new, offsets = self._piece(piece, first=place == 0)
                ids += new
                starts += [place + offset for offset in offsets]
            elif len(piece) > 1:
                # Behind a newline, as in `_piece`.
                new, before = self._plain("\n" + piece[1:-1]), self._plain("\n")
                new = new[len(before) :] if new[: len(before)] == before else self._plain(piece[1:-1])
                ids += new
                starts += [place] * len(new)
            place += len(piece)
        return ids, starts

    def _piece(self, text: str, *, first: bool) -> tuple[list[int], list[int]]:
        if first:
            encoding = self._backend.encode(text, add_special_tokens=False)
            return list(encoding.ids), [begin for begin, _ in encoding.offsets]
        # Behind a newline, so that a SentencePiece tokenizer adds no space in the middle of a text.
        newline = list(self._backend.encode("\n", add_special_tokens=False).ids)
        encoding = self._backend.encode("\n" + text, add_special_tokens=False)
        ids = list(encoding.ids)
        if ids[: len(newline)] != newline:
            return self._piece(text, first=True)
        return ids[len(newline) :], [begin - 1 for begin, _ in encoding.offsets[len(newline) :]]

    def _plain(self, text: str) -> list[int]:
        """Tokenise without looking for added tokens: the backend's stages, one after the other."""
        if self._backend.normalizer is not None:
            text = self._backend.normalizer.normalize_str(text)
        parts = [text]
        if self._backend.pre_tokenizer is not None:
            parts = [part for part, _ in self._backend.pre_tokenizer.pre_tokenize_str(text)]
        return [token.id for part in parts for token in self._backend.model.tokenize(part)]


def _behind_last_letter(content: str, mark: str) -> str:
    length = len(content.rstrip())
    return content[:length] + mark + content[length:]


def _map_text(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_map_text(key, change): _map_text(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_map_text(item, change) for item in value]
    return value


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [text for item in items for text in _texts(item)]


def piece_bytes(name: str) -> bytes | None:
    """Return the byte that a byte-fallback token such as `<0xF0>` stands for."""
    match = _BYTES_TOKEN.match(name)
    return bytes([int(match[1], 16)]) if match else None
