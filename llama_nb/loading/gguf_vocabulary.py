"""A tokenizer as the keys of a GGUF file: tokens, their kinds, merges or scores, and how text is cut.

llama.cpp knows ways of cutting text by name only. The name is the one under which sample texts become the
same tokens; where there is none, the nearest is written, tokenizer.json goes into the file whole, and a note
says what that means. Knows nothing of weights.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import ConvertError
from llama_nb.loading import gguf_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

# Kinds of tokens (llama_token_type in llama.h).
_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = range(1, 7)
_BYTE_PIECE: Final = re.compile(r"<0x[0-9A-F]{2}>")
_SPACE: Final = "\u2581"
# Ends of a turn and of a message that is a tool call, by which llama.cpp stops too.
_ENDS: Final = {"eot": ("<|eot_id|>", "<|eot|>"), "eom": ("<|eom_id|>", "<|eom|>")}
# Keys of the same name, but for these.
_ID_KEYS: Final = {"unk": "unknown", "pad": "padding"}
_WORDS: Final = 2000  # tokens of a vocabulary that are tried as texts
# What makes ways of cutting differ: blanks, lines, digits, quotes, contractions, marks, other scripts.
SAMPLES: Final = (
    "Once upon a time, in 1987, there lived 3 llamas and 12,345 sheep.",
    "It's what we'd've said: they're HERE, I'm sure, and he'll DON'T.",
    "'text' \"the\" ('so') he said:'more' O'Malley's rock'n'roll",
    "one two  three   four\tfive\n six\n\nseven \n\n eight\r\nnine \n",
    "\n\nA line after lines", "   ", "\n", "a\n\n\nb", "x" * 40,
    "def f(x: int) -> str:\n    return x**2 # ok\n\n\tif a != b:\n\t\tprint(f\"{a}\")\n",
    "https://a.b/c?d=e&f=1,000.00 user@host.org #tag --flag=1 1.5e-3 $5 50% a_b-c/d\\e",
    "Größe, café, naïve, Ærø, İstanbul, smørrebrød", "Русский текст и число 2024 года",
    "日本語のテキスト。漢字とかな", "中文,标点。", "한국어 문장입니다", "العربية نص",
    "हिन्दी में लिखा", "ภาษาไทย",
    "😀 🏳️‍🌈 👍🏽 emoji", "\u00a0nbsp\u2003em\u200bzero", "CamelCase ALLCAPS miXed iPhone X1y2Z3",
    "...!!! ?? -- “quoted” «so» (a)[b]{c} <d>", "**bold** _it_ `code`\n- item\n1. first\n2. second\n\n> cite",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a GGUF file says of its tokenizer.

    Attributes
    ----------
    kind
        "gpt2" (byte pairs of bytes) or "llama" (SentencePiece).
    pre
        llama.cpp's name of the way that text is cut.
    types
        llama.cpp's kind of each token.
    scores, merges
        The order of merging: by token of a "llama", by pair of a "gpt2"; else None.
    ids
        Special tokens by key: "bos", "eos", "unknown", "padding", "eot", "eom".
    begins, ends
        Whether a text gets the begin and the end token.
    prefix
        Whether a text begins with a space that was not written.
    whole
        tokenizer.json, where the rest does not say all of it.
    note
        A sentence on what is not the same in llama.cpp.
    """

    kind: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float] | None
    merges: list[str] | None
    ids: Mapping[str, int]
    begins: bool
    ends: bool
    prefix: bool
    template: str | None
    whole: str | None = None
    note: str = ""


def vocabulary(tokenizer: "PreTrainedTokenizerFast", rows: int, name: str) -> Vocabulary:
    """Return a tokenizer as the keys of a GGUF file with `rows` tokens, unused ones at the end.

    Raises
    ------
    ConvertError
        If it is of a kind that the format does not know; `name` is the model's.
    """
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    is_pieces = _is_pieces(content, name)
    tokens, types = _tokens(content, rows, is_pieces=is_pieces)
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in content["model"]["merges"]]
    plain = tokenizer.backend_tokenizer
    probe = plain.encode("a", add_special_tokens=False).tokens
    prefix = is_pieces and bool(probe) and probe[0].startswith(_SPACE)
    if is_pieces:
        scores = _scores(tokens, merges)
        unknown = content["model"].get("unk_token")
        pre, wrong = (
            "default",
            _differences(plain, gguf_tokenizer.pieces(tokens, scores, unknown, prefix=prefix)),
        )
    else:
        scores = None
        pre, wrong = _nearest_cut(plain, content, tokens, merges)
    begun = tokenizer("a").input_ids
    return Vocabulary(
        kind="llama" if is_pieces else "gpt2",
        pre=pre,
        tokens=tokens,
        types=types,
        scores=scores,
        merges=None if is_pieces else merges,
        ids=_ids(tokenizer, tokens),
        begins=tokenizer.bos_token_id is not None and begun[0] == tokenizer.bos_token_id,
        ends=tokenizer.eos_token_id is not None and begun[-1] == tokenizer.eos_token_id,
        prefix=prefix,
        template=_template(tokenizer),
        whole=plain.to_str() if wrong else None,
        note=_note(name, pre, wrong, len(samples(plain))),
    )


def _is_pieces(content: Mapping[str, Any], name: str) -> bool:
    """Whether a tokenizer is SentencePiece's; else it is one of byte pairs over bytes."""
    model = content["model"]
    if model.get("type") == "BPE" and model.get("byte_fallback"):
        return True
    steps = content.get("pre_tokenizer") or {}
    kinds = {step.get("type") for step in steps.get("pretokenizers", [steps])}
    if model.get("type") == "BPE" and "ByteLevel" in kinds and not content.get("normalizer"):
        return False
    also = f" with a {content['normalizer'].get('type')} normalizer" if content.get("normalizer") else ""
    raise ConvertError(
        f"{name} has a tokenizer of kind {model.get('type')}{also}: GGUF is written here for the byte "
        "pairs of Llamas.",
        "llama.cpp's convert_hf_to_gguf.py knows more kinds.",
    )


def _tokens(content: Mapping[str, Any], rows: int, *, is_pieces: bool) -> tuple[list[str], list[int]]:
    tokens = [f"[PAD{number}]" for number in range(rows)]
    types = [_UNUSED] * rows
    for text, number in content["model"]["vocab"].items():
        tokens[number] = text
        types[number] = _BYTE if is_pieces and _BYTE_PIECE.fullmatch(text) else _NORMAL
    for added in content["added_tokens"]:
        number = added["id"]
        unknown = added["content"] == content["model"].get("unk_token")
        tokens[number] = added["content"]
        types[number] = _UNKNOWN if unknown else _CONTROL if added["special"] else _USER
    return tokens, types


def _scores(tokens: list[str], merges: list[str]) -> list[float]:
    """SentencePiece's score of a piece: the earlier it is merged, the higher; what no merge makes, last."""
    rank: dict[str, float] = {}
    for position, pair in enumerate(merges):
        rank.setdefault("".join(pair.split(" ", 1)), -float(position))
    return [rank.get(token, -float(len(merges) + number)) for number, token in enumerate(tokens)]


def _nearest_cut(
    plain: "Tokenizer", content: Mapping[str, Any], tokens: list[str], merges: list[str]
) -> tuple[str, int]:
    """Return the name of the way of cutting that changes the fewest samples, and how many those are."""
    written = _written(content)
    names = list(dict.fromkeys(gguf_tokenizer.CUTS.values()))  # each way once
    best, fewest = "", math.inf
    for cut in sorted(names, key=lambda cut: cut not in written):
        pre = next(name for name, same in gguf_tokenizer.CUTS.items() if same == cut)
        wrong = _differences(plain, gguf_tokenizer.byte_pairs(pre, tokens, merges))
        if wrong < fewest:
            best, fewest = pre, wrong
        if not fewest:
            break
    return best, int(fewest)


def _written(content: Mapping[str, Any]) -> list[str]:
    """Return the expressions that a tokenizer.json cuts by; none stands for GPT-2's, which needs none."""
    steps = content["pre_tokenizer"]
    found = [step.get("pattern", {}).get("Regex") for step in steps.get("pretokenizers", [steps])]
    return [regex for regex in found if regex] or [""]


def _differences(plain: "Tokenizer", built: "Tokenizer") -> int:
    """Return how many of the samples become other tokens."""
    texts = samples(plain)
    ours, theirs = (one.encode_batch(texts, add_special_tokens=False) for one in (plain, built))
    return sum(one.ids != other.ids for one, other in zip(ours, theirs, strict=True))


def samples(plain: "Tokenizer") -> list[str]:
    """Return the texts by which tokenizers are compared: `SAMPLES`, and words of the vocabulary itself."""
    control = plain.get_added_tokens_decoder()
    numbers = [number for number in range(plain.get_vocab_size()) if number not in control]
    step = -(-len(numbers) // _WORDS)
    words = [plain.decode([number]) for number in numbers[::step]]
    return [*SAMPLES, *(word for word in words if "\ufffd" not in word)]


def _note(name: str, pre: str, wrong: int, tried: int) -> str:
    if not wrong:
        return ""
    return (
        f"llama.cpp has no name for the way in which {name} cuts text: as {pre!r}, {wrong:,} of {tried:,} "
        "short texts become other tokens there. tokenizer.json is in the file for programs that read it."
    )


def _ids(tokenizer: "PreTrainedTokenizerFast", tokens: list[str]) -> dict[str, int]:
    found = {}
    for kind in ("bos", "eos", "unk", "pad"):
        number = getattr(tokenizer, f"{kind}_token_id")
        if number is not None:
            found[_ID_KEYS.get(kind, kind)] = number
    numbers = {token: number for number, token in enumerate(tokens)}
    for kind, names in _ENDS.items():
        number = next((numbers[name] for name in names if name in numbers), None)
        if number is not None:
            found[kind] = number
    return found


def _template(tokenizer: "PreTrainedTokenizerFast") -> str | None:
    template = tokenizer.chat_template
    return template.get("default") if isinstance(template, dict) else template
