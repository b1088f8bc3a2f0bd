"""Which adapter answers a request: put on around its computation, and named in its last token.

Knows the engine's seam for adapters and no adapter itself.
"""

import contextlib
import dataclasses
from collections.abc import Iterator

from llama_nb.core.adapter import NO_ADAPTER
from llama_nb.core.errors import AdapterError
from llama_nb.core.events import TokenEvent
from llama_nb.core.request import Request
from llama_nb.engines.base import Adapters


@contextlib.contextmanager
def adapted(adapters: Adapters | None, request: Request, model: str) -> Iterator[str]:
    """Have the module answer with the request's adapter in the block; the value names what answers.

    Raises
    ------
    AdapterError
        If there is no such adapter.
    """
    if adapters is not None:
        with adapters.asked(request.adapter):
            yield adapters.label(request.adapter)
    elif request.adapter in (None, NO_ADAPTER):
        yield ""
    else:
        raise AdapterError(
            f"{model} has no adapter {request.adapter!r}.",
            "Train one: %llama train; or load one: %llama adapter load",
        )


def signed(event: TokenEvent, adapter: str) -> TokenEvent:
    """Return the last event of a reply with the name of the adapters that wrote it; others as they are."""
    if not adapter or event.finish is None:
        return event
    return dataclasses.replace(event, finish=dataclasses.replace(event.finish, adapter=adapter))
