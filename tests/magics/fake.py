"""A model that answers from a script, without torch: for tests of magics in this process and in kernels.

It echoes the last message, or counts when it is told to ("count 50"): tokens "1 ", "2 ", ...
"""

import re
import threading
import time
from pathlib import Path
from types import SimpleNamespace

from llama_nb.core.errors import EngineError
from llama_nb.core.events import Finish, TokenEvent, Usage
from llama_nb.engines.base import Capabilities, Prompt
from llama_nb.session import registry
from llama_nb.session.model import Model


class ScriptedEngine:
    """An Engine whose tokens are words; one request at a time, as with a real worker."""

    has_chat_template = True
    capabilities = Capabilities(logprobs=True)

    def __init__(self, name="fake", context=10_000, pace_s=0.0):
        self.name, self.context, self.pace_s = name, context, pace_s
        self.requests = []
        self._lock = threading.Lock()
        self._running = None

    def stream(self, request, stop):
        self.requests.append(request)
        began = time.monotonic()
        with self._lock:
            self._running = request.purpose
            try:
                produced = yield from self._tokens(request, stop, began)
            finally:
                self._running = None
        reason, detail = ("stopped", stop.reason) if stop.is_set() else ("end", "")
        usage = Usage(len(self.prompt(request).ids), 0, produced, 0.001, time.monotonic() - began)
        yield TokenEvent("", finish=Finish(reason, usage, request.sampling.seed or 1, detail))

    def _tokens(self, request, stop, began):
        words = _script(request)
        limit = request.sampling.max_tokens or len(words)
        produced = 0
        for word in words[:limit]:
            if stop.is_set() or (self.pace_s and stop.wait(self.pace_s)):
                break
            if word == "boom ":
                raise EngineError(
                    "Logits are NaN, first in layer 3.", "Load the model again: %llama load fake"
                )
            if word == "bug ":
                raise ZeroDivisionError("an internal mistake")
            produced += 1
            yield TokenEvent(word, id=produced, logprob=-0.5, entropy=0.7, elapsed_s=time.monotonic() - began)
        return produced

    def prompt(self, request):
        text = _text(request)
        return Prompt(tuple(range(len(text.split()))), text)

    def count_tokens(self, text):
        return len(text.split()) if isinstance(text, str) else sum(len(m.content.split()) for m in text)

    def token_texts(self, ids):
        return [f"t{token}" for token in ids]

    def is_special(self, token):
        return token == 0

    def tokenize(self, text):
        return tuple(range(len(text.split())))

    def cached_tokens(self, cache_key, ids):
        return 0

    def forget(self, cache_key=None):
        pass

    def busy(self):
        return self._running

    def close(self):
        return 0


def _text(request):
    if isinstance(request.input, str):
        return request.input
    return "\n".join(f"{message.role}: {message.content}" for message in request.input)


def _script(request):
    last = request.input if isinstance(request.input, str) else request.input[-1].content
    count = re.search(r"count (\d+)", last)
    if count:
        return [f"{number} " for number in range(1, int(count[1]) + 1)]
    return [f"{word} " for word in f"echo: {last}".split()]


def install(name="fake", **options):
    """Put a scripted model into the registry as the current one, and return it."""
    checked = SimpleNamespace(
        folder=Path("fake"),
        name=name,
        parameters=2_600_000,
        context=options.get("context", 10_000),
        model_type="llama",
        fingerprint="0123456789abcdef",
    )
    loaded = SimpleNamespace(
        checked=checked,
        dtype="float32",
        device="cpu",
        bytes=10_400_000,
        generation={},
        module=SimpleNamespace(parameters=list, modules=list),
        tokenizer=None,
        quant=None,
        quant_notes=(),
        chat_template="scripted",
    )
    model = Model(name, ScriptedEngine(name, **options), loaded, on_unload=registry._forget)
    registry._models[name] = model
    registry.use(name)
    return model
