"""The routing of a text for pages without widgets: the load map, and each token with its expert in one layer.

Knows shares, tokens and figures; what they are of is `interpret.routing_twin`'s business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from llama_nb.render.clean import clean_line
from llama_nb.render.expert_colours import FAINT, STRONG, expert_colour
from llama_nb.render.html import FIGURES, LINE, MONO, MUTED, SMALL, escape, styled, wall, without_math
from llama_nb.render.routing_domains import DomainLook, domains_html, domains_text
from llama_nb.render.routing_load import LoadLook, load_html, load_text
from llama_nb.render.tokens import count_text, visible_text

MOST_TOKENS: Final = 300

_STRIP: Final = f"{MONO};line-height:2;overflow-wrap:break-word;margin:0.3em 0"
_HEADING: Final = "margin:0.9em 0 0.3em"
_CHIP: Final = "border-radius:2px;margin-right:2px;white-space:pre-wrap"
# Superscripts stay raised where styles are dropped.
_RAISED: Final = str.maketrans("0123456789", "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")
_LABEL: Final = f"border-left:3px solid {LINE};padding:0 0 0 6px;font-size:0.85em;{MUTED}"


@dataclass(frozen=True, slots=True)
class RoutedToken:
    """A token with its experts in the shown layer.

    Attributes
    ----------
    experts
        The chosen ones, the one that weighs most first.
    clear
        How clear the choice was, 0 to 1: how strong its colour is.
    special
        Whether it is a control token.
    begins
        The label of the text that begins with it ("" for one without); None within a text.
    """

    text: str
    experts: tuple[int, ...]
    clear: float = 1.0
    special: bool = False
    begins: str | None = None


@dataclass(frozen=True, slots=True)
class RoutingTwin:
    """What the twin says.

    Attributes
    ----------
    title
        "Routing of cria-moe: text".
    facts
        Lines below it: how many experts there are, what is looked at.
    layer
        The shown MoE layer, by its index in the model.
    tokens
        As many as are shown, from the first on; `count` is how many there are.
    domains
        What the experts tell of the texts' labels, where there are any.
    """

    title: str
    facts: tuple[str, ...]
    layer: int
    load: LoadLook
    tokens: tuple[RoutedToken, ...]
    count: int
    domains: DomainLook | None = None


def bundle(twin: RoutingTwin, *, watched: bool) -> dict[str, str]:
    """Return the twin as a mime bundle: text/plain and text/html."""
    return {"text/plain": to_plain(twin, watched=watched), "text/html": to_html(twin, watched=watched)}


def to_plain(twin: RoutingTwin, *, watched: bool) -> str:
    """Return the twin as plain text."""
    parts = [
        clean_line(twin.title),
        "\n".join(map(clean_line, twin.facts)),
        load_text(twin.load, watched=watched),
        *([domains_text(twin.domains, watched=watched)] if twin.domains else []),
        f"{_strip_title(twin)}\n{tokens_line(twin.tokens)}{_more(twin)}",
    ]
    return "\n\n".join(part for part in parts if part)


def to_html(twin: RoutingTwin, *, watched: bool) -> str:
    """Return the twin as HTML with inline styles; pictures stand in it."""
    parts = [styled("div", "font-weight:bold", escape(clean_line(twin.title)))]
    parts += [styled("div", f"{SMALL};{MUTED}", escape(clean_line(fact))) for fact in twin.facts]
    parts.append(styled("div", "margin:0.6em 0 0", load_html(twin.load, watched=watched)))
    if twin.domains:
        parts.append(domains_html(twin.domains, watched=watched))
    parts.append(styled("div", _HEADING, escape(_strip_title(twin))))
    strip = tokens_html(twin.tokens, twin.load.experts, watched=watched) + styled(
        "span", MUTED, escape(_more(twin))
    )
    parts.append(styled("div", _STRIP, strip))
    return without_math(wall(styled("div", FIGURES, "".join(parts)), pictures=True))


def tokens_line(tokens: Sequence[RoutedToken]) -> str:
    """Return tokens as one line, each with the number of its expert raised: `Once³|·upon¹`."""
    return "|".join(_begin_text(token) + visible_text(token.text) + _numbers(token) for token in tokens)


def tokens_html(tokens: Sequence[RoutedToken], experts: int, *, watched: bool) -> str:
    """Return tokens as HTML, each on its expert's colour and with its number; the caller passes it on."""
    return "".join(_begin(token) + _chip(token, experts, watched) for token in tokens)


def _begin(token: RoutedToken) -> str:
    if token.begins is None:
        return ""
    label = clean_line(token.begins)
    return styled("div", _LABEL, escape(label)) if label else "<br>"


def _begin_text(token: RoutedToken) -> str:
    return (
        f"\n{clean_line(token.begins)}: ".lstrip(":") if token.begins else "\n" if token.begins == "" else ""
    )


def _chip(token: RoutedToken, experts: int, watched: bool) -> str:
    red, green, blue = expert_colour(token.experts[0], experts)
    # Margins differ in their last digits from one processor to the next.
    clear = min(max(token.clear, 0.0), 1.0) if watched else 0.5
    ground = f"background-color:rgba({red},{green},{blue},{FAINT + (STRONG - FAINT) * clear:.2f})"
    style = f"{ground};border-bottom:2px solid rgb({red},{green},{blue});{_CHIP}"
    name = escape(visible_text(token.text))
    if token.special:
        name = styled("span", MUTED, name)
    chip = styled("span", style, name + _numbers(token), title=_experts(token))
    # A line may break between tokens.
    return chip + ("<br>" if token.text.endswith("\n") else "\u200b")


def _numbers(token: RoutedToken) -> str:
    """The chosen experts, raised; of many the first."""
    shown = token.experts if len(token.experts) <= 2 else token.experts[:1]
    return "\u207a".join(map(str, shown)).translate(_RAISED)


def _experts(token: RoutedToken) -> str:
    return ", ".join(f"E{expert}" for expert in token.experts)


def _strip_title(twin: RoutingTwin) -> str:
    return f"Each token\u2019s expert in L{twin.layer} ({count_text(twin.count)}):"


def _more(twin: RoutingTwin) -> str:
    more = twin.count - len(twin.tokens)
    return f" \u2026 {more:,} more" if more > 0 else ""
