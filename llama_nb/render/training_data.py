"""What would be learned of data: samples with every token trained or context, lengths of rows, what is odd.

A trained token has a ground and a line below it, context has neither and is paler; in text brackets stand
around what is trained. Everything in the data is text of strangers.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any, Final, NotRequired, TypedDict

from llama_nb.render.bars import COLOURS
from llama_nb.render.clean import clean_line
from llama_nb.render.html import FIGURES, LINE, MONO, MUTED, SHADE, SMALL, escape, styled, wall, without_math
from llama_nb.render.tokens import count_text, visible_text

_MOST_TOKENS: Final = 240  # of a sample; those in the middle are left out
_TEXT_LENGTH: Final = 600  # characters of a sample in text
_HIGH: Final = 64  # pixels of the highest column
_WIDE: Final = 18  # pixels of a column
_TRAINED: Final = "0,158,115"  # Okabe and Ito's bluish green
_CHIP: Final = (
    "white-space:pre-wrap;padding:1px 0;border-left:1px solid rgba(128,128,128,0.3);border-bottom:2px solid "
)
_LOOKS: Final[Mapping[bool, str]] = {
    True: f"{_CHIP}rgba({_TRAINED},1);background-color:rgba({_TRAINED},0.22)",
    False: f"{_CHIP}transparent;background-color:transparent;opacity:0.62",
}
_ITEM: Final = "display:inline-block;margin:0 20px 4px 0;vertical-align:top"
_CARD: Final = f"border-left:3px solid {LINE};padding:0 0 0 10px;margin:8px 0"


class SampleToken(TypedDict):
    """One token: its id, what it shows as, whether it is learned, and whether it is a control token."""

    id: int
    text: str
    trained: bool
    special: NotRequired[bool]


class Sample(TypedDict):
    """One row: where its example stands, its tokens, and how many were cut off."""

    where: str
    tokens: Sequence[SampleToken]
    cut: int


class Lengths(TypedDict):
    """How long rows are: column i counts those of edges[i] to edges[i + 1] - 1 tokens."""

    edges: Sequence[int]
    counts: Sequence[int]


class View(TypedDict):
    """What a preview shows; `most` is the longest row that is trained."""

    title: str
    figures: Sequence[tuple[str, str]]
    trained: int
    tokens: int
    most: int
    lengths: Lengths
    notes: Sequence[str]
    samples: Sequence[Sample]
    command: str


def training_data_bundle(view: View) -> dict[str, Any]:
    """Return a preview as a mime bundle."""
    return {"text/plain": _text(view), "text/html": _html(view)}


def _share(view: View) -> str:
    share = view["trained"] / view["tokens"] if view["tokens"] else 0.0
    return f"{view['trained']:,} of {count_text(view['tokens'])} an epoch are trained ({share:.0%})"


# --- as a page -------------------------------------------------------------------------------------


def _html(view: View) -> str:
    figures = "".join(
        styled("span", _ITEM, styled("span", f"{SMALL};{MUTED}", escape(name)) + "<br>" + escape(value))
        for name, value in view["figures"]
    )
    parts = [
        styled("div", "font-weight:bold", escape(clean_line(view["title"]))),
        styled("div", f"{FIGURES};margin:6px 0 2px", figures),
        *(styled("div", SMALL, escape(clean_line(note))) for note in view["notes"]),
        _columns(view),
        _legend(view),
        *(_sample(sample) for sample in view["samples"]),
        _next(view),
    ]
    return without_math(wall("".join(parts)))


def _columns(view: View) -> str:
    """Return the histogram of lengths."""
    edges, counts = view["lengths"]["edges"], view["lengths"]["counts"]
    highest = max(counts, default=0)
    if not highest:
        return ""
    columns = []
    for count, (first, after) in zip(counts, pairwise(edges), strict=True):
        tall = max(3, round(_HIGH * count / highest)) if count else 1
        long = first > view["most"]
        ground = SHADE if not count else COLOURS[1] if long else COLOURS[0]
        mark = f"border-top:2px dashed {COLOURS[5]};" if long and count else ""
        style = (
            f"{mark}display:inline-block;vertical-align:bottom;width:{_WIDE}px;height:{tall}px;"
            f"margin:0 2px 0 0;background-color:{ground}"
        )
        columns.append(styled("span", style, "", title=_bin(count, first, after, view["most"])))
    said = f"Lengths of {sum(counts):,} rows from {edges[0]:,} to {edges[-1] - 1:,} tokens"
    chart = styled("div", "line-height:0;white-space:nowrap", "".join(columns), role="img", aria_label=said)
    width = (_WIDE + 2) * len(counts) - 2
    half = "display:inline-block;width:50%"
    axis = styled("span", half, f"{edges[0]:,}") + styled(
        "span", f"{half};text-align:right", f"{edges[-1] - 1:,} tokens"
    )
    axis = styled("div", f"{SMALL};{MUTED};{FIGURES};width:{width}px;border-top:1px solid {LINE}", axis)
    label = styled(
        "div", f"{SMALL};{MUTED};{FIGURES}", f"rows by their length; the highest column: {highest:,}"
    )
    return styled("div", "margin:10px 0 6px;overflow:auto", label + chart + axis)


def _bin(count: int, first: int, after: int, most: int) -> str:
    tokens = f"{first:,} tokens" if after - first == 1 else f"{first:,} to {after - 1:,} tokens"
    longer = f", longer than {most:,}" if first > most else ""
    return f"{tokens}: {count:,} {'row' if count == 1 else 'rows'}{longer}"


def _legend(view: View) -> str:
    trained = styled("code", f"{_LOOKS[True]};{MONO}", "&nbsp;trained&nbsp;")
    context = styled("code", f"{_LOOKS[False]};{MONO}", "&nbsp;context&nbsp;")
    return styled("div", f"{SMALL};{FIGURES};margin:8px 0 0", f"{trained} {context} {escape(_share(view))}")


def _sample(sample: Sample) -> str:
    label = styled("div", f"{SMALL};{MUTED};{FIGURES}", escape(_label(sample)))
    head, left_out, tail = _without_middle(sample["tokens"])
    chips = [_chip(token) for token in head]
    if left_out:
        chips.append(styled("span", MUTED, escape(f" \u2026 {left_out:,} more tokens \u2026 ")))
    chips += [_chip(token) for token in tail]
    if sample["cut"]:
        chips.append(styled("span", MUTED, escape(f" \u2702 {count_text(sample['cut'])} cut off")))
    # A line may break between tokens.
    tokens = styled(
        "div", f"{MONO};line-height:1.75;overflow-wrap:break-word;font-size:0.92em", "\u200b".join(chips)
    )
    return styled("div", _CARD, label + tokens)


def _chip(token: SampleToken) -> str:
    state = "trained" if token["trained"] else "context"
    pill = "font-style:italic;" if token.get("special") else ""
    chip = styled(
        "code",
        f"{pill}{_LOOKS[token['trained']]}",
        escape(visible_text(token["text"])),
        title=f"id {token['id']}, {state}",
    )
    return chip + ("<br>" if token["text"].endswith("\n") else "")


def _label(sample: Sample) -> str:
    trained = sum(token["trained"] for token in sample["tokens"])
    return f"{clean_line(sample['where'])} \u00b7 {count_text(len(sample['tokens']))}, {trained:,} trained"


def _without_middle(
    tokens: Sequence[SampleToken],
) -> tuple[Sequence[SampleToken], int, Sequence[SampleToken]]:
    if len(tokens) <= _MOST_TOKENS:
        return tokens, 0, ()
    half = _MOST_TOKENS // 2
    return tokens[:half], len(tokens) - 2 * half, tokens[-half:]


def _next(view: View) -> str:
    code = styled(
        "code",
        f"{MONO};background-color:{SHADE};padding:1px 6px;border-radius:3px",
        escape(clean_line(view["command"])),
    )
    return styled("div", "margin:10px 0 0", f"Next: {code}")


# --- as text ---------------------------------------------------------------------------------------


def _text(view: View) -> str:
    wide = max((len(name) for name, _ in view["figures"]), default=0)
    lines = [
        clean_line(view["title"]),
        *(f"  {name:<{wide}}  {value}" for name, value in view["figures"]),
        *(clean_line(note) for note in view["notes"]),
        "",
        *_rows_of_text(view),
        "",
        f"[[trained]] context: {_share(view)}",
    ]
    for sample in view["samples"]:
        lines += ["", _label(sample), f"  {_sample_text(sample)}"]
    return "\n".join([*lines, "", f"Next: {clean_line(view['command'])}"])


def _rows_of_text(view: View) -> list[str]:
    """Return the histogram as lines, two columns in each."""
    edges, counts = view["lengths"]["edges"], view["lengths"]["counts"]
    lines = []
    pairs = [
        (edges[i], edges[min(i + 2, len(counts))], sum(counts[i : i + 2])) for i in range(0, len(counts), 2)
    ]
    most = max((count for _, _, count in pairs), default=0)
    labels = [_bin(count, first, after, view["most"]) for first, after, count in pairs]
    wide = max(map(len, labels), default=0)
    for label, (_, _, count) in zip(labels, pairs, strict=True):
        lines.append(f"  {label:<{wide}}  {'#' * -(-30 * count // most) if most else ''}".rstrip())
    return lines


def _sample_text(sample: Sample) -> str:
    head, left_out, tail = _without_middle(sample["tokens"])
    pieces = [_stretches(head)]
    if left_out:
        pieces.append(f" \u2026 {left_out:,} more tokens \u2026 ")
    shown = "".join([*pieces, _stretches(tail)])
    if len(shown) > _TEXT_LENGTH:
        half = _TEXT_LENGTH // 2
        shown = f"{shown[:half]} \u2026 {shown[-half:]}"
    return shown + (f" \u2702 {count_text(sample['cut'])} cut off" if sample["cut"] else "")


def _stretches(tokens: Sequence[SampleToken]) -> str:
    parts = []
    for trained, stretch in groupby(tokens, lambda token: token["trained"]):
        text = visible_text("".join(token["text"] for token in stretch)).replace("\u00b7", " ")
        parts.append(f"[[{text}]]" if trained else text)
    return "".join(parts)
