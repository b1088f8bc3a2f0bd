"""The blocks of a model in words: what each is called, what it computes, with the shapes of this very model.

Knows the facts of a block, not where they come from, and no HTML. In formulas x is the residual stream, x̂
what a norm makes of it, T the number of tokens, W_q a matrix: what hangs lower stands behind an underscore,
as a word or in braces.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Line = tuple[str, str]
Facts = Mapping[str, Any]

_SILU: Final = "silu(z) = z · σ(z) = z / (1 + e⁻ᶻ)"


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the formulas need of the whole model: width of the residual stream, vocabulary, frequencies."""

    hidden: int
    vocabulary: int
    pairs: int = 0
    base: float = 0.0
    scaled: bool = False
    adjacent: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """A block in words.

    Attributes
    ----------
    title, summary
        Its name, and a few words that tell it from others of its kind.
    about
        One or two sentences for who sees it for the first time.
    formula
        Lines of (formula, shape of what it gives).
    adds
        Whether its result is added to the residual stream.
    """

    title: str
    summary: str
    about: str
    formula: tuple[Line, ...]
    adds: bool = False


def words(kind: str, facts: Facts, shapes: Mapping[str, Sequence[int]], sizes: Sizes, tied: bool) -> Words:
    """Return a block in words.

    Parameters
    ----------
    kind
        "embedding", "rope", "norm", "attention", "feed-forward", "experts", "head" or "other".
    facts
        As `interpret.anatomy.Block.facts`.
    shapes
        Of its tensors, by their names.
    tied
        Whether it uses the tensors of another block.
    """
    makers: Mapping[str, Callable[[], Words]] = {
        "embedding": lambda: _embedding(sizes),
        "rope": lambda: _rope(sizes),
        "norm": lambda: _norm(facts, sizes),
        "attention": lambda: _attention(facts, sizes),
        "feed-forward": lambda: _feed_forward(facts, _width(shapes), sizes),
        "experts": lambda: _experts(facts, sizes),
        "head": lambda: _head(sizes, tied),
    }
    make = makers.get(kind)
    return make() if make is not None else Words("Other tensors", "", "Not a part of a plain Llama.", ())


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as it is read: "2,048 × 192"."""
    return " × ".join(f"{size:,}" for size in shape)


def layers_text(numbers: Sequence[int]) -> str:
    """Return layer numbers as ranges: "0–5", "0–2, 4–6"."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}\u2013{b}" for a, b in ranges)


def _embedding(sizes: Sizes) -> Words:
    return Words(
        "Embedding",
        f"{sizes.vocabulary:,} tokens",
        f"Every token of the vocabulary has a row of {sizes.hidden:,} numbers. With the rows of the text's "
        "tokens the residual stream begins.",
        (("x = E[token]", f"T × {sizes.hidden:,}"),),
    )


def _rope(sizes: Sizes) -> Words:
    first, partner = ("{2i}", "{2i+1}") if sizes.adjacent else ("i", f"{{i+{sizes.pairs}}}")
    scaled = ", then scaled" if sizes.scaled else ""
    return Words(
        "RoPE",
        f"{sizes.pairs} angles",
        "Positions are told by turning: each pair of dimensions of a query or key turns by its own angle "
        "from token to token, so the product of the two depends on how far they are apart. All heads turn "
        "alike; nothing in it is learned.",
        (
            (f"θ_i = {sizes.base:,.0f}^(−2i / {2 * sizes.pairs}){scaled}", f"i = 0 … {sizes.pairs - 1}"),
            (f"(q_{first}, q_{partner}) turned by position · θ_i", "and k likewise"),
        ),
    )


def _norm(facts: Facts, sizes: Sizes) -> Words:
    eps = f" + {facts['eps']:.0e}".replace("e-0", "e-") if "eps" in facts else ""
    return Words(
        "RMSNorm",
        "",
        "Each token's vector is divided by its root mean square, then each channel is stretched by a learned "
        "weight. What follows sees vectors of one size; the residual stream itself stays as it is.",
        ((f"x̂ = w ⊙ x / √(mean(x²){eps})", f"T × {sizes.hidden:,}"),),
    )


def _attention(facts: Facts, sizes: Sizes) -> Words:
    heads, kv_heads, size = facts["heads"], facts["kv_heads"], facts["head_dim"]
    turns = facts.get("rope", True)
    steps: list[Line] = [
        ("q = W_q x̂", f"T × {heads} heads × {size}"),
        ("k = W_k x̂,  v = W_v x̂", f"T × {kv_heads} heads × {size}"),
    ]
    if facts.get("head_norm"):
        steps.append(("q, k ← norm(q), norm(k)", "each head"))
    if turns:
        steps.append(("q, k ← RoPE(q, k)", "turned by position"))
    steps += [
        (f"A = softmax(q kᵀ / √{size} + mask)", f"{heads} heads × T × T"),
        ("x ← x + W_o (A v)", f"T × {sizes.hidden:,}"),
    ]
    shared = heads // kv_heads
    grouped = f"{heads} heads, {kv_heads} kv × {size}" if shared > 1 else f"{heads} heads × {size}"
    grouped += "" if turns else ", no RoPE"
    notes = [
        "Each head mixes what earlier tokens offer (v), by how well its question (q) meets their keys (k).",
        f"{shared} query heads share one pair of keys and values." if shared > 1 else "",
        _reach(facts),
        "" if turns else "These layers use no positions (NoPE).",
    ]
    return Words("Attention", grouped, " ".join(filter(None, notes)), tuple(steps), adds=True)


def _reach(facts: Facts) -> str:
    reach = facts.get("reach")
    if reach == "sliding":
        return f"A token sees the last {facts['window']:,} only (sliding window)."
    if reach == "chunked":
        return f"A token sees its own chunk of {facts['window']:,} only."
    return ""


def _feed_forward(facts: Facts, width: int, sizes: Sizes) -> Words:
    name = _gated(facts)
    return Words(
        name,
        f"{sizes.hidden:,} → {width:,} → {sizes.hidden:,}",
        f"Works on each token alone: {width:,} gates decide how much of {width:,} other values goes on. Most "
        "of a Llama's parameters are here.",
        (
            ("g = W_gate x̂", f"T × {width:,}"),
            ("u = W_up x̂", f"T × {width:,}"),
            (f"h = {facts['activation']}(g) ⊙ u", f"T × {width:,}"),
            ("x ← x + W_down h", f"T × {sizes.hidden:,}"),
            *(((_SILU, ""),) if facts["activation"] == "silu" else ()),
        ),
        adds=True,
    )


def _experts(facts: Facts, sizes: Sizes) -> Words:
    count, chosen, shared, width = (facts[key] for key in ("experts", "per_token", "shared", "width"))
    gate = "σ(r)" if facts["router"] == "sigmoid" else "softmax(r)"
    total = f"x ← x + Σ_e p_e {_gated(facts)}_e(x̂)" + (f" + {_gated(facts)}_shared(x̂)" if shared else "")
    about = (
        f"A router picks {chosen} of {count} small feed-forward networks for each token"
        f"{'; one more works for every token' if shared else ''}. Only those that are picked are computed."
    )
    return Words(
        "Mixture of experts",
        f"{chosen} of {count} × {width:,}",
        about,
        (
            ("r = W_router x̂", f"T × {count} experts"),
            (f"p = {gate} of the {chosen} largest", f"T × {chosen}"),
            (total, f"T × {sizes.hidden:,}"),
        ),
        adds=True,
    )


def _gated(facts: Facts) -> str:
    return "SwiGLU" if facts.get("activation") == "silu" else "Gated feed-forward"


def _head(sizes: Sizes, tied: bool) -> Words:
    matrix = "E" if tied else "W"
    about = "Each token's last state is compared with a row for every token of the vocabulary: its logits."
    return Words(
        "Head",
        "tied to the embedding" if tied else f"{sizes.vocabulary:,} tokens",
        about + (" The rows are those of the embedding, so they cost nothing." if tied else ""),
        ((f"logits = {matrix} x̂", f"T × {sizes.vocabulary:,}"), ("p = softmax(logits)", "the next token")),
    )


def _width(shapes: Mapping[str, Sequence[int]]) -> int:
    return next((shape[0] for name, shape in shapes.items() if name.startswith("gate_proj")), 0)
