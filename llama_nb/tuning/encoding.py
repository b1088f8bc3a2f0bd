"""Examples to rows of token ids, each token marked as trained or as context.

Knows the kinds of examples; where a template puts a turn's tokens is the masking's business.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from llama_nb.core.errors import DataError, TemplateError, TrainingError, UnsupportedError, did_you_mean
from llama_nb.core.messages import Message
from llama_nb.engines.prompt import PromptBuilder
from llama_nb.engines.token_text import TokenTexts
from llama_nb.tuning.data import TrainingData
from llama_nb.tuning.example import Example
from llama_nb.tuning.masking import Tokens, conversation_tokens

Mask: TypeAlias = Literal["assistant", "last", "all"]
Overlong: TypeAlias = Literal["cut", "skip", "error"]

_AT_ONCE: Final = 64  # examples, about a tenth of a second's work


@dataclass(frozen=True, slots=True)
class Row:
    """One example as tokens.

    Parameters
    ----------
    ids
        Token ids, int32 [T].
    trained
        Whether token i is a target: whether predicting it counts, bool [T]; never the first.
    where
        Where the example stands.
    cut
        How many tokens were cut off at its end.
    """

    ids: npt.NDArray[np.int32]
    trained: npt.NDArray[np.bool_]
    where: str = ""
    cut: int = 0

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows, and what became of the examples that are not or not wholly among them.

    Parameters
    ----------
    rows
        In the order of their examples.
    notes
        Sentences for the user.
    counts
        "examples", "rows", "cut", "split", "skipped" (too long), "empty", "tokens", "trained".
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    counts: Mapping[str, int]


def encode(
    data: TrainingData,
    tokenizer: Any,
    chat_template: str | None,
    *,
    mask: Mask = "assistant",
    max_tokens: int,
    overlong: Overlong = "cut",
    name: str = "the model",
    date: str | None = None,
    trusted: bool = False,
    between: Callable[[], object] | None = None,
) -> Encoded:
    """Return the examples as rows of tokens.

    A prompt with an answer is a conversation of two turns where the model has a chat template, so that it is
    learned as it is chatted with; without one it is text, and the answer ends with the end of text.

    Parameters
    ----------
    mask
        What is learned of a conversation: each answer of the assistant, the last one, or all of it. Plain
        texts are learned wholly.
    max_tokens
        The longest row.
    overlong
        What becomes of longer ones: their end is cut off (a plain text goes on in further rows), they are
        skipped, or they are an error.
    name
        The model's name, for messages.
    date
        What templates write as today's date; None: today's. A run that goes on another day gives it.
    trusted
        The template comes with this package and is rendered in this process.
    between
        Called after every few examples, of which there may be many; what it raises ends the work.

    Raises
    ------
    DataError
        Naming where an example stands that is too long (with `overlong="error"`).
    TemplateError
        Naming where an example stands that the template refuses.
    TrainingError
        If no token of any example would be trained, with a sample and its mask.
    UnsupportedError
        If conversations are given to a model without a chat template.
    """
    for option, value, choices in (
        ("mask", mask, get_args(Mask)),
        ("overlong", overlong, get_args(Overlong)),
    ):
        if value not in choices:
            near = did_you_mean(str(value), choices)
            raise TrainingError(f"{option} is {value!r}.", near or f"One of: {', '.join(choices)}.")
    prompts = PromptBuilder(tokenizer, chat_template, name, trusted=trusted, date=date)
    encoder = _Encoder(prompts, name, tokenizer.eos_token_id, mask)
    found = []
    try:
        for number, example in enumerate(data.examples, start=1):
            found.append(encoder.tokens(example))
            if between is not None and number % _AT_ONCE == 0:
                between()
    finally:
        prompts.close()
    rows = _Rows(max_tokens, overlong)
    for example, tokens in zip(data.examples, found, strict=True):
        rows.add(tokens, example.where, goes_on=example.kind == "text")
    if not rows.rows:
        raise _nothing_trained(data, found, tokenizer, mask, max_tokens)
    return Encoded(tuple(rows.rows), tuple(rows.notes(data, found, mask)), rows.counts(len(data.examples)))


class _Encoder:
    """Makes tokens of examples, one at a time."""

    def __init__(self, prompts: PromptBuilder, name: str, eos: int | None, mask: Mask) -> None:
        self._prompts = prompts
        self._name = name
        self._eos = eos
        self._mask = mask

    def tokens(self, example: Example) -> Tokens:
        """Return the example's tokens."""
        if example.kind == "preference":
            raise DataError(
                f"{example.where}: a preference has two answers, and a plain loss learns one.",
                "Train with --objective dpo (in Python objective='dpo').",
            )
        if example.kind == "text":
            return self._text(example)
        if example.kind == "pair" and not self._prompts.has_chat_template:
            return self._pair(example)
        return self._chat(example)

    def _chat(self, example: Example) -> Tokens:
        if not self._prompts.has_chat_template:
            raise UnsupportedError(
                f"{example.where} is a conversation, and {self._name}, a base model, has no chat template.",
                "Give it texts, or prompts with a completion; or load an instruct model, or cria.",
            )
        messages = example.messages or (
            Message("user", example.prompt), Message("assistant", example.completion)
        )  # fmt: skip
        answers = [
            index
            for index, message in enumerate(messages)
            if message.role == "assistant" and (message.content.strip() or message.tool_calls)
        ]
        if self._mask == "last":
            answers = answers[-1:] if answers and answers[-1] == _last_answer(messages) else []
        turns = [] if self._mask == "all" else [index for index in answers if index not in example.untrained]
        try:
            tokens = conversation_tokens(self._prompts, messages, example.tools, turns)
        except (TemplateError, TrainingError) as error:
            raise type(error)(f"{example.where}: {error.message}", error.hint) from None
        if self._mask == "all":
            tokens.trained[:] = True
        return tokens

    def _text(self, example: Example) -> Tokens:
        ids = self._prompts.encode_text(example.completion) if example.completion.strip() else ()
        return self._ended(ids, 0)

    def _pair(self, example: Example) -> Tokens:
        if not example.completion.strip():
            return self._ended((), 0)
        prompt, completion = example.prompt, example.completion
        glued = prompt and not prompt[-1].isspace() and not completion[0].isspace()
        asked = self._prompts.encode_text(prompt)
        said = self._prompts.text.continue_raw(f"\n{completion}" if glued else completion)
        return self._ended((*asked, *said), 0 if self._mask == "all" else len(asked))

    def _ended(self, ids: Sequence[int], first: int) -> Tokens:
        """Return ids with the end of text behind them, trained from `first` on."""
        if ids and self._eos is not None and ids[-1] != self._eos:
            ids = (*ids, self._eos)
        return Tokens(np.array(ids, dtype=np.int32), np.arange(len(ids)) >= first)


class _Rows:
    """Collects rows and counts what is cut and left out."""

    def __init__(self, max_tokens: int, overlong: Overlong) -> None:
        self.rows: list[Row] = []
        self._most = max_tokens
        self._overlong = overlong
        self._lost = {"cut": 0, "split": 0, "skipped": 0, "empty": 0, "beheaded": 0}

    def add(self, tokens: Tokens, where: str, *, goes_on: bool) -> None:
        """Add one example's tokens, as far as they fit and hold something to learn.

        With `goes_on`, what would be cut off is further rows.
        """
        trained = tokens.trained.copy()
        trained[:1] = False  # nothing foretells the first token
        if not trained.any():
            self._lost["empty"] += 1
            return
        length = int(np.flatnonzero(trained)[-1]) + 1  # what follows teaches nothing
        if length > self._most and self._overlong == "error":
            raise DataError(
                f"{where} has {length:,} tokens, the longest row is {self._most:,}.",
                f"Allow more with max_tokens={length}, or have such rows cut or skipped (overlong).",
            )
        if length > self._most and self._overlong == "skip":
            self._lost["skipped"] += 1
            return
        if length > self._most and goes_on:
            self._lost["split"] += 1
            self.rows += _split(tokens.ids[:length], trained[:length], where, self._most)
            return
        cut = max(0, length - self._most)
        kept = length - cut
        if not trained[:kept].any():
            self._lost["beheaded"] += 1
            return
        self._lost["cut"] += cut > 0
        self.rows.append(Row(tokens.ids[:kept].copy(), trained[:kept].copy(), where, cut))

    def counts(self, examples: int) -> dict[str, int]:
        """Return the numbers of `Encoded.counts`."""
        lost = dict(self._lost)
        return {
            "examples": examples,
            "rows": len(self.rows),
            "cut": lost["cut"],
            "split": lost["split"],
            "skipped": lost["skipped"] + lost["beheaded"],
            "empty": lost["empty"],
            "tokens": sum(len(row) for row in self.rows),
            "trained": sum(int(row.trained.sum()) for row in self.rows),
        }

    def notes(self, data: TrainingData, found: Sequence[Tokens], mask: Mask) -> list[str]:
        """Return what the user should know of cut, skipped and odd rows."""
        lost, of = self._lost, f"of {len(data.examples):,} examples"
        missing = sum(row.cut for row in self.rows)
        endless = sum(tokens.endless for tokens in found) if mask != "all" else 0
        long, behind = f"Longer than {self._most:,} tokens", f"behind {self._most:,} tokens"
        told = (
            (lost["cut"], long, f"{of}; cut off in all: {missing:,} tokens."),
            (lost["split"], long, f"{of}, which go on in further rows: {len(self.rows):,} in all."),
            (lost["skipped"], f"{long}, and skipped", f"{of}."),
            (lost["beheaded"], f"Left out, since the answer lies {behind}", f"{of}."),
            (lost["empty"], "Left out, since there is nothing to learn in them", f"{of}."),
            (endless, "Answers that no control token ends, so that stopping is not learned", "in all."),
        )
        return [f"{what}: {count:,} {rest}" for count, what, rest in told if count]


def _split(ids: npt.NDArray[np.int32], trained: npt.NDArray[np.bool_], where: str, most: int) -> list[Row]:
    """Return a text in rows: each begins as the text does, and with the last token of the row before."""
    rows = [Row(ids[:most].copy(), trained[:most].copy(), where)]
    step = max(1, most - 2)
    for number, start in enumerate(range(most, len(ids), step), start=2):
        part = np.concatenate((ids[:1], ids[start - 1 : start + step]))
        learned = np.concatenate(([False, False], trained[start : start + step]))
        rows.append(Row(part, learned, f"{where}, part {number}"))
    return rows


def _last_answer(messages: Sequence[Message]) -> int:
    return max(index for index, message in enumerate(messages) if message.role == "assistant")


def _nothing_trained(
    data: TrainingData, found: Sequence[Tokens], tokenizer: Any, mask: Mask, most: int
) -> TrainingError:
    """Return the error for data of which nothing is learned, with one example and its mask."""
    place = next((i for i, tokens in enumerate(found) if tokens.trained[1:].any()), 0)
    if not data.examples or not len(found[place].ids):
        return TrainingError(
            f"There is no token to train on: all {len(data.examples):,} examples are empty.",
            "Look at them with --preview.",
        )
    tokens, where = found[place], data.examples[place].where
    texts = TokenTexts(tokenizer.backend_tokenizer)
    shown = "".join(texts.many(tokens.ids.tolist()))
    shown = f"{shown[:160]} …" if len(shown) > 160 else shown
    if tokens.trained[1:].any():
        first = int(np.flatnonzero(tokens.trained[1:])[0]) + 1
        why = f"in {where} the answer begins at token {first:,}, behind the {most:,} that a row may have"
        hint = f"Allow longer rows: max_tokens={len(tokens.ids)}."
    else:
        why = f"in {where} none of the {len(tokens.ids):,} tokens is an answer (mask {mask})"
        hint = "An answer is a message with the role assistant; --preview shows what is trained."
    return TrainingError(f"There is no token to train on: {why}. It reads: {shown!r}", hint)
