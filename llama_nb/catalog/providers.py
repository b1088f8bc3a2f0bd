"""`llama.providers`: where Llamas run, on one's own machine and elsewhere, as providers.json has it.

Addresses, protocols and the *names* of the environment variables that hold keys; never a key. Whether a
server answers is not known here, and what it costs stands in prices.json.
"""

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from llama_nb.core.errors import CatalogError, did_you_mean

Kind = Literal["own", "api", "cloud", "tuning", "rent"]
Protocol = Literal["openai", "ollama", "bedrock", "vertex", "oci", "replicate"]

KINDS: Final[Mapping[Kind, str]] = {
    "own": "on your own machine",
    "api": "an API, billed by the token",
    "cloud": "a cloud, with an account of its own",
    "tuning": "for fine-tuning",
    "rent": "GPUs by the hour",
}


@dataclass(frozen=True, slots=True)
class Provider:
    """A program or a service that runs Llamas.

    Attributes
    ----------
    key
        Ours, as typed: "groq".
    protocol
        What it speaks: "openai" is the style of /v1/chat/completions; None where nothing answers requests.
    base_url
        Its OpenAI-style address, up to /v1; words in braces are the account's own. None where there is none.
    key_env
        The environment variable that holds the key; None where none is needed.
    start
        A command, or what to do first.
    models
        Our names of models to its own ids, as far as its documentation lists them.
    """

    key: str
    name: str
    kind: Kind
    protocol: Protocol | None
    base_url: str | None
    key_env: str | None
    start: str
    source: str
    models: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


class Providers:
    """Every provider: iterate over it, or `find` one."""

    def __iter__(self) -> Iterator[Provider]:
        return iter(_providers())

    def __len__(self) -> int:
        return len(_providers())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _plain(name) in _by_name()

    def __repr__(self) -> str:
        lines = [
            f"  {meaning}: {', '.join(provider.name for provider in self if provider.kind == kind)}"
            for kind, meaning in KINDS.items()
        ]
        return "\n".join([f"{len(self)} providers:", *lines])

    def find(self, text: str) -> Provider:
        """Return the provider called `text`, in any case: "groq", "Together AI", "llama.cpp".

        Raises
        ------
        CatalogError
            If there is none, with the nearest name.
        """
        found = _by_name().get(_plain(text))
        if found is None:
            near = did_you_mean(text, [provider.key for provider in self])
            raise CatalogError(
                f"No provider is called {text!r}.", f"{near} All of them: `%llama providers`".strip()
            )
        return found


@functools.cache
def _providers() -> tuple[Provider, ...]:
    data = json.loads(Path(__file__).with_name("providers.json").read_text(encoding="utf-8"))
    return tuple(Provider(**row) for row in data["providers"])


@functools.cache
def _by_name() -> dict[str, Provider]:
    return {_plain(name): provider for provider in _providers() for name in (provider.name, provider.key)}


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


providers: Final = Providers()
