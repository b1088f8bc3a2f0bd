"""A grammar as a mask over the vocabulary: compiled once for a tokenizer, then followed token by token.

The only file that knows llguidance, which is imported when the first grammar comes. What a schema is made
from, and what its replies become, is the session's business.

Text that must come is not written ahead of the model: nearly always several tokens spell it, and which one
comes is the model's choice.
"""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from llama_nb.core.errors import EngineError, SchemaError, UnsupportedError
from llama_nb.core.grammar import Grammar
from llama_nb.engines.head import Mask
from llama_nb.engines.json_schema import can_end

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

COMPILE_S: Final = 5.0  # the longest that a grammar may take to compile
_LONGEST: Final = 500_000  # characters of a schema, pattern or list
_KEPT: Final = 16  # compiled grammars
_STEP_FUEL: Final = 500_000  # what the lexer may do for one mask
_LOOK_AHEAD: Final = 4  # tokens written on trial, since some limits are met after the first mask only
# Else only the usual tokens are allowed where a text must come. So every token is that fits, and what the
# mask leaves is the model's own distribution.
_HEAD: Final = '%llguidance {"no_forcing": true}\n'
# Between the parts of a JSON text: nothing, a space, or a new line and its indentation. Any white space at
# all would let a model write blanks for ever.
_BLANK: Final = r"( |\n {0,16})?"
# What may follow a backslash: no \u, which could write half of a character.
_ESCAPES: Final = '"\\bfnrt'
# Where in our own wrapping of a schema it stumbled, which nobody has seen.
_WHERE: Final = re.compile(r"^(at \d+\(\d+\): )?(failed to (compile JSON schema|parse \"%json\"): )?")
_SIGNS: Final = re.compile(r"[\\^$.|?*+()\[\]{}]")  # what means something in a pattern


class Grammars:
    """The grammars of one tokenizer.

    Parameters
    ----------
    backend
        The tokenizer, of the `tokenizers` library.
    size
        How many logits the model gives (V).
    ends
        The tokens that end a reply: allowed where the grammar is fulfilled.
    name
        The model's name, for messages.
    """

    def __init__(self, backend: Any, size: int, ends: Collection[int], name: str) -> None:
        self._backend = backend
        self._size = size
        self._ends = sorted(ends)
        self._name = name
        # Models may have more logits than tokens, and tokenizers more tokens than the model knows.
        self._vocabulary = max(size, backend.get_vocab_size(with_added_tokens=True))
        self._tokenizer: LLTokenizer | None = None
        self._compiled: OrderedDict[Grammar, LLMatcher] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, grammar: Grammar) -> None:
        """Compile `grammar`, or find it compiled.

        Raises
        ------
        SchemaError
            If it is malformed, asks for what cannot be held, fits no text, or takes more than 5 s.
        UnsupportedError
            If the tokenizer is of a kind that cannot be masked.
        """
        self._find(grammar)

    def begin(self, grammar: Grammar, before: Sequence[int] = ()) -> "GrammarState":
        """Return the state of a reply that is held to `grammar`, behind the tokens `before` of it.

        Raises
        ------
        SchemaError
            As `check`, or if the tokens `before` do not fit.
        """
        matcher = self._find(grammar).deep_copy()
        if before and not matcher.consume_tokens(list(before)):
            raise SchemaError(
                f"What the reply begins with does not fit the {grammar}.", "Ask anew instead of going on."
            )
        return GrammarState(matcher, grammar, self._size, self._vocabulary)

    def allowed(self, grammar: Grammar, reply: Sequence[int]) -> Mask | None:
        """Return which tokens `grammar` allows behind `reply`, shape (V,); None where that has ended.

        Raises
        ------
        SchemaError, EngineError
            As `begin` and `GrammarState.allowed`.
        """
        state = self.begin(grammar, reply)
        return None if state.ended else state.allowed()

    def _find(self, grammar: Grammar) -> "LLMatcher":
        with self._lock:
            matcher = self._compiled.get(grammar)
            if matcher is None:
                tokenizer = self._open_tokenizer()
                matcher = _within(COMPILE_S, lambda: _compile(grammar, tokenizer), grammar)
                self._compiled[grammar] = matcher
            self._compiled.move_to_end(grammar)
            while len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
            return matcher

    def _open_tokenizer(self) -> "LLTokenizer":
        """Return llguidance's trie of the vocabulary, made once: that takes over a second for Llama 3."""
        from llguidance import LLTokenizer

        if self._tokenizer is None:
            try:
                self._tokenizer = LLTokenizer(
                    self._backend.to_str(), n_vocab=self._vocabulary, eos_token=self._ends or None
                )
            except (ValueError, RuntimeError) as error:
                raise UnsupportedError(
                    f"The tokens of {self._name} cannot be masked: {_first_line(str(error))}.",
                    "Ask without a schema, and check the reply yourself.",
                ) from error
        return self._tokenizer


class GrammarState:
    """Where one reply stands in its grammar."""

    def __init__(self, matcher: "LLMatcher", grammar: Grammar, size: int, vocabulary: int) -> None:
        self._matcher = matcher
        self._size = size
        self._grammar = grammar
        self._bits = np.zeros((vocabulary + 31) // 32 * 4, np.uint8)

    @property
    def fulfilled(self) -> bool:
        """Whether the reply is whole as it stands."""
        return self._matcher.is_accepting()

    @property
    def ended(self) -> bool:
        """Whether nothing can follow."""
        return self._matcher.is_stopped()

    def allowed(self) -> Mask:
        """Return which tokens may come next, shape (V,); never none.

        Raises
        ------
        EngineError
            If the grammar has become too large to follow, or no token of the vocabulary fits any more.
        """
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        mask = np.unpackbits(self._bits, count=self._size, bitorder="little").view(np.bool_)
        if self._matcher.is_error() or not mask.any():
            raise self._lost()
        return mask

    def feed(self, token: int) -> None:
        """Go on behind `token`, which must be allowed."""
        if not self._matcher.consume_token(token):
            raise self._lost()

    def _lost(self) -> EngineError:
        why = _reason(self._matcher.get_error()) or "no token of the vocabulary fits here"
        return EngineError(f"The {self._grammar} cannot be followed: {why}.", "Make it simpler.")


def _within(seconds: float, work: "Callable[[], LLMatcher]", grammar: Grammar) -> "LLMatcher":
    """Return what `work` returns; one that takes longer is left alone, since nothing can end it."""
    found: list[LLMatcher] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=run, name="llama-nb grammar", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise SchemaError(
            f"The {grammar} is too large: it was not compiled within {seconds:g} s.",
            "Make it simpler: fewer properties, shorter lists, smaller repetitions.",
        )
    return found[0]


def _compile(grammar: Grammar, tokenizer: "LLTokenizer") -> "LLMatcher":
    from llguidance import LLMatcher, LLParserLimits

    if len(grammar.text) > _LONGEST:
        raise SchemaError(
            f"The {grammar} has {len(grammar.text):,} characters, more than {_LONGEST:,}.", "Make it smaller."
        )
    limits = LLParserLimits(step_lexer_fuel=_STEP_FUEL, verbose_errors=False)
    matcher = LLMatcher(tokenizer, _written(grammar), log_level=0, limits=limits)
    if matcher.is_error():
        raise _refused(grammar, matcher.get_error())
    trial = matcher.deep_copy()
    for _ in range(_LOOK_AHEAD):
        if trial.is_stopped():
            break
        bits = np.frombuffer(trial.compute_bitmask(), np.uint8)
        trial.consume_token(int(np.unpackbits(bits, bitorder="little").argmax()))
    if trial.is_error():
        raise _refused(grammar, trial.get_error())
    return matcher


def _written(grammar: Grammar) -> str:
    """Return `grammar` in llguidance's dialect of Lark."""
    from llguidance import regex_to_lark

    if grammar.kind == "regex":
        return f"{_HEAD}start: /{regex_to_lark(grammar.text)}/"
    if grammar.kind == "choice":
        texts = (_SIGNS.sub(r"\\\g<0>", text) for text in json.loads(grammar.text))
        return f"{_HEAD}start: /{regex_to_lark('|'.join(texts))}/"
    schema = json.loads(grammar.text)
    if not can_end(schema):
        raise SchemaError(
            f"The {grammar} has no end: each value of it needs another one of its kind.",
            "Make the part that repeats optional, or a list that may be empty.",
        )
    options = {"whitespace_pattern": _BLANK, "json_allowed_escapes": _ESCAPES}
    # ASCII, since the dialect takes fewer characters in a text than JSON does.
    return f"{_HEAD}start: %json {json.dumps({**schema, 'x-guidance': options})}"


def _refused(grammar: Grammar, message: str) -> SchemaError:
    hint = "A pattern has no look-around and no back-references." if grammar.kind == "regex" else ""
    return SchemaError(f"The {grammar} cannot be used: {_reason(message)}.", hint)


def _reason(message: str) -> str:
    """Return the sentence of llguidance's message that says what is wrong."""
    # The parser of patterns draws where the mistake is, then says it.
    told = re.search(r"^error: (.*)$", message, re.MULTILINE)
    if message.startswith("NoExtension"):
        return "no text fulfils it"
    return _first_line(told[1] if told else _WHERE.sub("", message))


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0].strip().rstrip(".")
