"""List the models: bundled, in the Hugging Face cache, and loaded; with --all, everything that is known.

With a few words, what the catalogue has under them; of a single model all figures, each with its source.
With --delete, a model leaves the cache: what would go is shown with its size, and you are asked.
"""

from argparse import Namespace
from collections.abc import Iterable, Sequence

from llama_nb.catalog import catalog
from llama_nb.magics import names
from llama_nb.magics.loadable import overview
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call

EXAMPLES = ("%llama models", "%llama models --all", "%llama models guard", "%llama models llama-3.3-70b")


def add_arguments(parser: VerbParser) -> None:
    """Declare --all and the words."""
    parser.add_argument("--all", action="store_true", help="the whole catalogue, newest first")
    parser.add_named("--delete", names.cached, "delete this model from the Hugging Face cache")
    parser.add_argument("--yes", action="store_true", help="delete without a question")
    parser.takes_text("words", "some of a name: guard, 3.2, scout instruct")


def complete(words: Sequence[str]) -> Iterable[str]:
    """Return the names of the catalogue."""
    return () if words else (card.name for card in catalog.cards())


def run(args: Namespace, call: Call) -> Shown:
    """Return the table, or the one model that the words mean."""
    del call
    if args.delete is not None:
        from llama_nb.magics.deletion import delete

        return delete(args.delete, sure=args.yes)
    if not args.all and not args.words.strip():
        return overview()
    from llama_nb.catalog.models import models
    from llama_nb.magics.catalog_views import model_view, models_table

    found = models.search(args.words)
    exact = catalog.find(args.words.strip())
    if exact is not None or len(found) == 1:
        return model_view(exact or found[0])
    # Nothing found: `find` says what is nearest.
    return models_table(found) if found else model_view(models.find(args.words))
