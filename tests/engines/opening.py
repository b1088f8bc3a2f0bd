"""Open an engine over a folder or a module, run a request through it, and read what came."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from llama_nb.core.events import TokenEvent
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.engines.registry import open_engine
from llama_nb.engines.transformers_engine import TransformersEngine
from llama_nb.loading.open import load_checked

LILY = "Once upon a time, there was a little girl named Lily."


def open_folder(folder: Path) -> TransformersEngine:
    engine = open_engine(load_checked(folder, device="cpu"))
    assert isinstance(engine, TransformersEngine)
    return engine


def open_module(
    module: Any, tokenizer: Any, *, template: str | None = None, **checked: Any
) -> TransformersEngine:
    facts = {"name": "tiny", "folder": Path("tiny"), "parameters": 100_000, "context": 512, **checked}
    loaded: Any = SimpleNamespace(
        module=module.eval(),
        tokenizer=tokenizer,
        checked=SimpleNamespace(**facts),
        device="cpu",
        generation={},
        chat_template=template,
    )
    return TransformersEngine(loaded)


def run(
    engine: TransformersEngine,
    given: Any,
    *,
    flag: StopFlag | None = None,
    key: str | None = None,
    alternatives: int = 3,
    **sampling: Any,
) -> list[TokenEvent]:
    request = Request(given, Sampling(**sampling), cache_key=key, alternatives=alternatives)
    return list(engine.stream(request, flag or StopFlag()))


def ids(events: list[TokenEvent]) -> list[int]:
    return [event.id for event in events if event.id is not None]


def text(events: list[TokenEvent]) -> str:
    return "".join(event.text for event in events)
