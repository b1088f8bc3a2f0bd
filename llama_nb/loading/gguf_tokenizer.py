"""The tokenizer that is in a GGUF file: its vocabulary, merges and special tokens as a `tokenizers` object.

Text must become the same tokens as in the model's own tokenizer.json, which a file may carry whole. Where it
does not, the pieces are put together here; a way of cutting text that is not known is refused, since wrong
tokens would only be seen in worse replies. Knows nothing of weights.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import LoadError
from llama_nb.loading.gguf_file import GgufHeader

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

_WHOLE: Final = "tokenizer.huggingface.json"
_TEMPLATE: Final = "tokenizer.chat_template"
# Token types of llama.cpp (llama_token_type in llama.h).
_UNKNOWN, _CONTROL, _USER = 2, 3, 4
_SPACE: Final = "\u2581"
# tokenizer.ggml.pre -> how text is cut before merging. The expressions are those of Meta's tokenizers for
# Llama 3 and 4 (llama-models, models/llama3/tokenizer.py and models/llama4/tokenizer.py).
_LLAMA3: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_SHORT: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_LLAMA4: Final = (
    rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+{_SHORT}"
    rf"|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*{_SHORT}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CUTS: Final[Mapping[str, str]] = {
    "llama-bpe": _LLAMA3, "llama3": _LLAMA3, "llama-v3": _LLAMA3,
    "llama4": _LLAMA4, "gpt-4o": _LLAMA4,
    "gpt-2": "",
}  # fmt: skip


def read(header: GgufHeader) -> "PreTrainedTokenizerFast":
    """Return the tokenizer of a GGUF file with its chat template.

    Raises
    ------
    LoadError
        If there is none, it contradicts itself, or it is of a kind that is not known here.
    """
    from transformers import PreTrainedTokenizerFast

    tokens = header.array("tokenizer.ggml.tokens")
    if not tokens:
        raise LoadError(f"{header.path.name} has no vocabulary.", "Get the model again.")
    try:
        backend = _whole(header, tokens) or _build(header, tokens)
    except LoadError:
        raise
    except Exception as error:  # noqa: BLE001 - the Rust library raises bare Exceptions
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        what = f"The tokenizer in {header.path.name} is damaged: {first}"
        raise LoadError(what, "Get the model again.") from None
    named = {f"{name}_token": _named(header, tokens, name) for name in ("bos", "eos", "unk", "pad")}
    template = header.keys.get(_TEMPLATE)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        clean_up_tokenization_spaces=False,
        **{name: token for name, token in named.items() if token is not None},
    )
    tokenizer.chat_template = template if isinstance(template, str) else None
    return tokenizer


def check_tokenizer(header: GgufHeader, rows: int) -> bool:
    """Check the vocabulary against an embedding of `rows` rows; return whether there is a chat template.

    Raises
    ------
    LoadError
        If a file has more tokens than rows, or names a special token that is none of them.
    """
    tokens = header.keys.get("tokenizer.ggml.tokens")
    count = getattr(tokens, "length", 0)
    if not count or count > rows:
        raise LoadError(
            f"{header.path.name} has {count:,} tokens for an embedding of {rows:,} rows.",
            "Get the model again.",
        )
    for name in ("bos", "eos", "unk", "pad"):
        number = _number(header, name)
        if number is not None and not 0 <= number < count:
            raise LoadError(
                f"{header.path.name} says that its {name} token is number {number:,} of {count:,}.",
                "Get the model again.",
            )
    return isinstance(header.keys.get(_TEMPLATE), str)


def _number(header: GgufHeader, name: str) -> int | None:
    key = {"unk": "unknown", "pad": "padding"}.get(name, name)
    number = header.keys.get(f"tokenizer.ggml.{key}_token_id")
    return number if type(number) is int and number != 0xFFFFFFFF else None


def _named(header: GgufHeader, tokens: list[str], name: str) -> str | None:
    number = _number(header, name)
    return None if number is None else tokens[number]


def _whole(header: GgufHeader, tokens: list[str]) -> "Tokenizer | None":
    """Return the tokenizer.json that is in the file, if it has the file's own vocabulary."""
    from tokenizers import Tokenizer

    text = header.keys.get(_WHOLE)
    if not isinstance(text, str):
        return None
    found = Tokenizer.from_str(text)
    if found.get_vocab_size() > len(tokens):
        raise LoadError(
            f"{header.path.name} holds a tokenizer.json with {found.get_vocab_size():,} tokens beside "
            f"{len(tokens):,} of its own.",
            "Get the model again.",
        )
    return found


def _build(header: GgufHeader, tokens: list[str]) -> "Tokenizer":
    kind = header.keys.get("tokenizer.ggml.model")
    if kind not in ("gpt2", "llama"):
        raise LoadError(
            f"{header.path.name} has a tokenizer of kind {str(kind)[:40]!r}; a Llama has 'gpt2' or 'llama'.",
            "Load the model that it was made from.",
        )
    built = _pieces(header, tokens) if kind == "llama" else _bytes(header, tokens)
    _add_special(built, header, tokens)
    # Where a file does not say it, llama.cpp begins each text of a Llama with this token, none of a GPT-2.
    usual = kind == "llama" or header.keys.get("tokenizer.ggml.pre") != "gpt-2"
    number = _number(header, "bos")
    if number is not None and header.keys.get("tokenizer.ggml.add_bos_token", usual):
        _begin(built, tokens[number], number)
    return built


def _bytes(header: GgufHeader, tokens: list[str]) -> "Tokenizer":
    pre = str(header.keys.get("tokenizer.ggml.pre", ""))
    if pre not in CUTS:
        raise LoadError(
            f"{header.path.name} cuts text by rules called {pre[:40]!r} (tokenizer.ggml.pre), which are "
            f"not known here; known are {', '.join(CUTS)}.",
            "Load the model that it was made from.",
        )
    return byte_pairs(pre, tokens, header.array("tokenizer.ggml.merges") or [])


def byte_pairs(pre: str, tokens: list[str], merges: list[str]) -> "Tokenizer":
    """Return byte pairs over bytes written as characters, the kind of Llama 3 and 4.

    `pre` is one of `CUTS`; a merge is its two parts with a space between.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    parts: Any = [tuple(merge.split(" ", 1)) for merge in merges]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    # Meta's tokenizers take a word that is a token as it is, even where no merges lead to it.
    built = Tokenizer(models.BPE(vocabulary, parts, ignore_merges=bool(CUTS[pre])))
    cut = [pre_tokenizers.Split(Regex(CUTS[pre]), "isolated")] if CUTS[pre] else []
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not cut)
    built.pre_tokenizer = pre_tokenizers.Sequence([*cut, as_bytes])
    built.decoder = decoders.ByteLevel()
    return built


def _pieces(header: GgufHeader, tokens: list[str]) -> "Tokenizer":
    unknown = _named(header, tokens, "unk")
    prefix = bool(header.keys.get("tokenizer.ggml.add_space_prefix", True))
    return pieces(tokens, header.array("tokenizer.ggml.scores") or [], unknown, prefix=prefix)


def pieces(tokens: list[str], scores: list[float], unknown: str | None, *, prefix: bool) -> "Tokenizer":
    """Return SentencePiece's byte pairs over characters, the kind of Llama 1 and 2.

    `prefix`: whether a text begins with a space that was not written.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers

    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = _merges(vocabulary, scores)
    model = models.BPE(vocabulary, merges, unk_token=unknown or tokens[0], fuse_unk=True, byte_fallback=True)
    built = Tokenizer(model)
    before = [normalizers.Prepend(_SPACE)] if prefix else []
    built.normalizer = normalizers.Sequence([*before, normalizers.Replace(" ", _SPACE)])
    strip = [decoders.Strip(" ", 1, 0)] if before else []
    built.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return built


def _merges(vocabulary: Mapping[str, int], scores: list[float]) -> list[tuple[str, str]]:
    """Return what merges to a piece of the vocabulary, the piece of the highest score first."""
    found = []
    for piece, number in vocabulary.items():
        score = scores[number] if number < len(scores) else 0.0
        for place in range(1, len(piece)):
            left, right = piece[:place], piece[place:]
            if left in vocabulary and right in vocabulary:
                found.append((-score, number, vocabulary[left], left, right))
    return [(left, right) for _, _, _, left, right in sorted(found)]


def _add_special(built: "Tokenizer", header: GgufHeader, tokens: list[str]) -> None:
    from tokenizers import AddedToken

    kinds = header.array("tokenizer.ggml.token_type") or []
    of_kind: dict[int, list[Any]] = {_CONTROL: [], _USER: []}
    for token, kind in zip(tokens, kinds, strict=False):
        special = kind in (_CONTROL, _UNKNOWN)
        if special or kind == _USER:
            added = AddedToken(token, normalized=False, special=special)
            of_kind[_CONTROL if special else _USER].append(added)
    built.add_special_tokens(of_kind[_CONTROL])
    built.add_tokens(of_kind[_USER])


def _begin(built: "Tokenizer", token: str, number: int) -> None:
    """Let each text begin with `token`."""
    from tokenizers import processors

    built.post_processor = processors.TemplateProcessing(
        single=[token, "$A"], pair=[token, "$A", f"{token}:1", "$B:1"], special_tokens=[(token, number)]
    )
