"""Show what a model's licence asks for, as a checklist with the section numbers of its text.

Without a name: the licences of the loaded models, or what distinguishes all of them. A summary: read the
text.
"""

from argparse import Namespace
from collections.abc import Iterable, Sequence

from llama_nb import bundled
from llama_nb.catalog import catalog
from llama_nb.catalog.catalog import ModelCard
from llama_nb.magics import names
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%llama license llama-3.3-70b",
    "%llama license scout",
    "%llama license llama-3.1",
    "%llama license",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the model or licence."""
    parser.takes_text("model", "a model (3.3 70b) or a licence (llama-3.1)")


def complete(words: Sequence[str]) -> Iterable[str]:
    """Return loaded models, the catalogue's, and the licences."""
    from llama_nb.catalog.licences import licences

    if words:
        return ()
    return [*names.loaded(), *(card.name for card in catalog.cards()), *(each.key for each in licences())]


def run(args: Namespace, call: Call) -> Shown:
    """Return the checklist."""
    del call
    from llama_nb.magics.catalog_views import licences_table

    if args.model.strip():
        return _of(args.model.strip())
    shown = [_of(source) for source in _loaded() if source in bundled.names() or catalog.find(source)]
    for more in shown[1:]:
        shown[0] += more
    return shown[0] if shown else licences_table()


def _loaded() -> list[str]:
    """What the loaded models were loaded from, each once."""
    from llama_nb.session import registry

    return list(dict.fromkeys(model.source for model in registry.loaded().values()))


def _of(text: str) -> Shown:
    from llama_nb.catalog.licences import licence
    from llama_nb.magics.catalog_views import licence_view

    if text in bundled.names():
        return Shown(
            f"{text} comes with llama-nb, under {bundled.licence(text)}: no conditions of Meta's apply."
        )
    return licence_view(licence(text), _card(text))


def _card(text: str) -> ModelCard | None:
    """The model that is meant, where it is a single one and no licence."""
    from llama_nb.catalog.licences import licences
    from llama_nb.catalog.models import find
    from llama_nb.core.errors import CatalogError

    if text.lower() in {each.key for each in licences()}:
        return None
    try:
        return find(text)
    except CatalogError:
        return None
