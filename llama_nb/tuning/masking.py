"""Which tokens of a conversation are trained: found by places in the rendering, never by a template's words.

A conversation is rendered as the engine renders it, and once more with marks around what is learned. Where
the marks come out is where the answers stand, whatever the template writes around them or trims of them.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from llama_nb.core.errors import TrainingError
from llama_nb.core.messages import Message
from llama_nb.engines.control_text import free_marks
from llama_nb.engines.prompt import PromptBuilder

_LONGEST_TOKEN: Final = 64  # characters that are searched for a control token
_MOST_PREFIXES: Final = 64  # renderings of one conversation, to find where its answers are asked for


class Tokens(NamedTuple):
    """A conversation's token ids, int32 [T]; which are trained, bool [T]; answers without an end token."""

    ids: npt.NDArray[np.int32]
    trained: npt.NDArray[np.bool_]
    endless: int = 0


class _Span(NamedTuple):
    """Characters of a rendering; with `exact` they begin where the engine asks for an answer."""

    start: int
    end: int
    exact: bool


def conversation_tokens(
    prompts: PromptBuilder, messages: Sequence[Message], tools: Sequence[Any], trained: Collection[int]
) -> Tokens:
    """Return a conversation as tokens.

    Up to each trained answer these are the ids that the engine gives the model to answer to. (Line ends that
    an answer begins with stay apart from the template's, as when it was generated; the engine joins them when
    it reads a chat again.) What is trained is the answer and, behind it, the control token that ends it.

    Parameters
    ----------
    prompts
        The model's own prompt builder.
    trained
        Indices of the assistant's messages that are learned; none of them is empty.

    Raises
    ------
    TemplateError
        If the template does not take such a conversation.
    TrainingError
        If the template does not show where an answer begins.
    UnsupportedError
        If the model has no template.
    """
    plain = [message.to_dict() for message in messages]
    given = [dict(tool) for tool in tools]
    start, end, edge = free_marks(plain, given)[:3]
    marked = prompts.text.mark(plain, start, end)
    marked_tools = prompts.text.mark(given, start, end)
    turns = sorted(trained)
    text, found = _spans(prompts, marked, marked_tools, turns, edge)
    cuts = sorted({span.start for span in found if span.exact and span.start})
    ids, starts = prompts.text.encode_marked(text, start, end, cuts)
    places = np.array(starts)
    learned = np.zeros(len(ids), dtype=np.bool_)
    endless = 0
    for span in found:
        # Without an exact beginning the token that the first letter is in counts, too.
        first = np.searchsorted(places, span.start, "left" if span.exact else "right") - (not span.exact)
        behind, close = _end_token(prompts, text, span.end)
        learned[first : np.searchsorted(places, close, "left")] = True
        endless += not behind
    return Tokens(np.array(ids, dtype=np.int32), learned, endless)


def _spans(
    prompts: PromptBuilder, messages: Sequence[Any], tools: Sequence[Any], turns: Sequence[int], edge: str
) -> tuple[str, list[_Span]]:
    """Return the rendering, and where in it each of `turns` stands, without what ends it."""
    told = [_with_edges(message, edge) if i in turns else message for i, message in enumerate(messages)]
    asked = turns[-_MOST_PREFIXES:]
    rendered = prompts.render(
        [(messages, tools, False), (told, tools, False), *((messages[:turn], tools, True) for turn in asked)]
    )
    text = rendered[0] or ""
    begins = {turn: _length_before(text, each) for turn, each in zip(asked, rendered[2:], strict=True)}
    shown = [turn for turn in turns if _has_edges(messages[turn])]
    contents = _between_edges(text, rendered[1], edge, shown)
    # A call has no text to put marks into: it ends where the conversation does that ends with it.
    others = [turn for turn in turns if turn not in contents]
    shorter = [(messages[: turn + 1], tools, False) for turn in others]
    ended = prompts.render([(messages, tools, False), *shorter])[1:] if others else []
    for turn, each in zip(others, ended, strict=True):
        begin, close = begins.get(turn), _length_before(text, each)
        if begin is None or close is None or close <= begin:
            raise TrainingError(
                f"The chat template does not show where message {turn} begins and ends: what it writes of it "
                "depends on the messages behind it.",
                "Train on all tokens (mask all), or on the last answer only (mask last).",
            )
        contents[turn] = (begin, close)
    return text, [_span(contents[turn], begins.get(turn)) for turn in turns]


def _span(content: tuple[int, int], begin: int | None) -> _Span:
    start, end = content
    return _Span(start, end, exact=False) if begin is None or begin > start else _Span(begin, end, exact=True)


def _has_edges(message: Any) -> bool:
    return bool(message["content"].strip()) and not message.get("tool_calls")


def _with_edges(message: Any, edge: str) -> Any:
    """Return the message with marks around its text, inside the white space that templates trim."""
    if not _has_edges(message):
        return message
    content = message["content"]
    core = content.strip()
    before = content[: len(content) - len(content.lstrip())]
    return {**message, "content": f"{before}{edge}{core}{edge}{content[len(before) + len(core) :]}"}


def _between_edges(
    text: str, told: str | None, edge: str, turns: Sequence[int]
) -> dict[int, tuple[int, int]]:
    """Return where each turn's text stands; nothing if the template does not write the marks as they are."""
    parts = (told or "").split(edge)
    if len(parts) != 2 * len(turns) + 1 or "".join(parts) != text:
        return {}
    borders = np.cumsum([len(part) for part in parts]).tolist()
    return {turn: (borders[2 * index], borders[2 * index + 1]) for index, turn in enumerate(turns)}


def _length_before(text: str, prefix: str | None) -> int | None:
    return len(prefix) if prefix is not None and text.startswith(prefix) else None


def _end_token(prompts: PromptBuilder, text: str, end: int) -> tuple[bool, int]:
    """Return whether a control token ends what ends at `end`, and where that token ends."""
    control = prompts.text.control
    before = list(control.finditer(text, max(0, end - _LONGEST_TOKEN), end))
    if before and not text[before[-1].end() : end].strip():
        return True, before[-1].end()
    behind = control.search(text, end)
    if behind is None or text[end : behind.start()].strip():
        return False, end
    return True, behind.end()
