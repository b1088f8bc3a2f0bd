"""One head of a trace, to be looked at: what of it stands in an output without a widget.

Knows traces and which links tell something; how that looks is `render.attention`'s business.
"""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from llama_nb.interpret.attention_links import SAMPLED, first_head, telling
from llama_nb.interpret.tiles import tile
from llama_nb.render.attention import MOST_TOKENS, SIDE, AttentionTwin, Link, bundle
from llama_nb.render.chances import percent
from llama_nb.render.tokens import TokenRow, count_text
from llama_nb.runtime.environment import detect

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from llama_nb.interpret.attention import AttentionTrace

MOST_LINKS: Final = 10
_LEAST: Final = 0.01  # a weaker link is noise


@dataclass(frozen=True, slots=True)
class AttentionView:
    """A trace, and the head of it to show first; shown as the explorer where a page has widgets.

    Attributes
    ----------
    layer, head
        None: the middle layer, and a head of it that tells something.
    """

    trace: "AttentionTrace"
    layer: int | None = None
    head: int | None = None

    def text(self) -> str:
        """Return its strongest links as text."""
        return self._repr_mimebundle_()["text/plain"]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        watched = detect().watched
        return bundle(attention_twin(self.trace, self.layer, self.head, watched=watched), watched=watched)

    def __repr__(self) -> str:
        return f"<view of {self.trace!r}>"


def attention_twin(
    trace: "AttentionTrace",
    layer: int | None = None,
    head: int | None = None,
    *,
    watched: bool,
    picture: "npt.NDArray[np.uint8] | None" = None,
) -> AttentionTwin:
    """Return what is shown of one head.

    Parameters
    ----------
    layer, head
        Default the middle layer, and the head of it to look at first.
    picture
        The map of all of it, when it is there already; of long texts a quick look is taken else.
    """
    layer = trace.layers[len(trace.layers) // 2] if layer is None else layer
    head = first_head(trace, layer) if head is None else head
    if picture is None:
        whole = (0, trace.length)
        # Of a text that is too long for a pixel a token, a small picture: it stands in the notebook's file.
        side = SIDE if trace.length <= SIDE else SIDE // 2
        picture = next(iter(tile(trace, layer, head, whole, whole, size=side))).values
    found, on_first = telling(trace, layer, head, MOST_LINKS)
    links = tuple(Link(*link) for link in found if link[2] >= _LEAST)
    share = percent(on_first, watched=watched)
    sampled = f" ({SAMPLED:,} of them looked at)" if trace.length > SAMPLED else ""
    said = f"The first token gets {share} of the weight of all others{sampled}."
    bare = bare_twin(trace, layer, head)
    return dataclasses.replace(
        bare,
        facts=(*bare.facts, said) if trace.length > 1 else bare.facts,
        picture=picture,
        pooled=trace.length > max(picture.shape),
        links=links,
        texts={at: trace.texts[at] for link in links for at in (link.query, link.key)},
        left_out="without the first token and each token's own",
    )


def bare_twin(trace: "AttentionTrace", layer: int, head: int, tokens: int = MOST_TOKENS) -> AttentionTwin:
    """Return what can be said of a head without computing a weight."""
    ids, texts, special = trace.ids, trace.texts, trace.special
    shown = tuple(
        TokenRow(id=ids[at], text=texts[at], special=bool(special[at]))
        for at in range(min(trace.length, tokens))
    )
    title = f"Attention of {trace.model}: {trace.title}"
    return AttentionTwin(title, _facts(trace, layer, head), shown, trace.length, trace.prompt)


def _facts(trace: "AttentionTrace", layer: int, head: int) -> tuple[str, ...]:
    shared = trace.heads // trace.kv_heads
    group = f", key/value head {trace.group(head)} of {trace.kv_heads}" if shared > 1 else ""
    written = trace.length - trace.prompt
    read = count_text(trace.length) + (f", {written:,} of them written by the model" if written else "")
    layers = "layer" if len(trace.layers) == 1 else "layers"
    return (
        f"{len(trace.layers)} {layers} of {trace.heads} heads; {read}",
        f"Shown: L{layer} H{head}{group}, {trace.kind(layer)} attention",
        *((f"Turned off in the model: {trace.off}",) if trace.off else ()),
    )
