"""Show where Llamas run: programs of one's own, APIs, clouds, services for fine-tuning.

A provider's name shows the rest about it: address, the variable of its key, its names of models, the source.
"""

from argparse import Namespace
from collections.abc import Iterable, Sequence

from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown, table
from llama_nb.magics.verbs import Call

EXAMPLES = ("%llama providers", "%llama providers groq")


def add_arguments(parser: VerbParser) -> None:
    """Declare the provider."""
    parser.takes_text("provider", "a provider; without it, all of them")


def complete(words: Sequence[str]) -> Iterable[str]:
    """Return the providers."""
    from llama_nb.catalog.providers import providers

    return () if words else (provider.key for provider in providers)


def run(args: Namespace, call: Call) -> Shown:
    """Return the table of all, or of one."""
    del call
    from llama_nb.catalog.providers import KINDS, providers

    name = args.provider.strip()
    if name:
        return _one(name)
    rows = [
        [provider.name, KINDS[provider.kind], provider.protocol or "", provider.key_env or "", provider.start]
        for provider in providers
    ]
    return table(["provider", "what", "protocol", "key in", "to begin"], rows)


def _one(name: str) -> Shown:
    from llama_nb.catalog.providers import KINDS, providers

    found = providers.find(name)
    facts = {
        "provider": found.name,
        "what": KINDS[found.kind],
        "protocol": found.protocol,
        "address": found.base_url,
        "key in": found.key_env,
        "to begin": found.start,
        "note": found.note,
        "source": found.source,
    }
    shown = table(["", ""], [[key, value] for key, value in facts.items() if value])
    if found.models:
        shown += table(["model", "its name there"], [list(pair) for pair in found.models.items()])
    return shown
