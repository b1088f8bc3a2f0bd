"""What is held of a loaded model: its weights, its chats, the replies that are being made, and their end.

Knows the engine and the registry's wish to be told; how a request is made is sending's business.
"""

import functools
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from llama_nb.core.errors import ModelBusy, ModelGone
from llama_nb.core.events import AdaptersChanged, publish
from llama_nb.core.sampling import Sampling
from llama_nb.engines.base import Trainable
from llama_nb.loading.config import kind_label
from llama_nb.render.units import number
from llama_nb.runtime.environment import detect
from llama_nb.session.adapters import Adapters, adaptable, adapters_said
from llama_nb.session.chat import Journal
from llama_nb.session.chat_book import ChatBook
from llama_nb.session.defaults import model_defaults, resolve
from llama_nb.session.record import recorder, tap
from llama_nb.session.reply import Reply

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine
    from llama_nb.loading.check import Checked
    from llama_nb.loading.weights import Loaded
    from llama_nb.tuning.adapters import AdapterSet

_STOP_WAIT_S: Final = 10.0  # the longest wait for replies that unload(force=True) stops
_LOOK_S: Final = 2.0  # the longest wait for work that is no reply, such as the look of a panel
_TRAINING_WAIT_S: Final = 60.0  # the longest wait for a micro-batch, and for a checkpoint to be written
_POLL_S: Final = 0.02


class Handle:
    """A loaded model: its facts, what runs on it, and how its memory is given back."""

    def __init__(
        self,
        name: str,
        engine: "Engine",
        loaded: "Loaded",
        *,
        source: str = "",
        journal: Journal | None = None,
        on_unload: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.source = source or name
        self._engine: Engine | None = engine
        self._tapped: Engine | None = None
        self._loaded: Loaded | None = loaded
        self._checked = loaded.checked
        self._facts = (loaded.dtype, loaded.device, loaded.bytes, engine.context)
        self._quantisation = (loaded.quant, loaded.quant_notes)
        self._kind = getattr(loaded, "kind", "")
        self._generation_config: Mapping[str, Any] = dict(loaded.generation)
        self._on_unload = on_unload
        self.chats = ChatBook(journal, self._forget)
        self._adapters: Adapters | None = None
        self._active: dict[int, Reply] = {}
        self._last: Reply | None = None

    # --- what it is -------------------------------------------------------------------------------

    @property
    def engine(self) -> "Engine":
        """What generates; raises ModelGone after `unload`. While replies are recorded, it tells them."""
        if self._engine is None:
            raise self._gone()
        if recorder() is None or self.replayed:
            return self._engine
        if self._tapped is None:
            self._tapped = tap(self, self._engine)
        return self._tapped

    @property
    def plain_engine(self) -> "Engine":
        """What generates, even while replies are recorded."""
        if self._engine is None:
            raise self._gone()
        return self._engine

    @property
    def adapters(self) -> Adapters:
        """Its adapters: which there are and which answer; to switch, mix, save and load them."""
        if self._adapters is None:
            self._adapters = Adapters(self)
        return self._adapters

    @property
    def has_adapters(self) -> bool:
        """Whether there is, or was, an adapter in the module."""
        return getattr(self._engine, "adapters", None) is not None

    def adapter_set(self) -> "AdapterSet":
        """Return the adapters in the module, for work on its worker; everybody else uses `adapters`.

        Raises
        ------
        UnsupportedError
            If the model's weights are not in this kernel.
        """
        engine = adaptable(self)
        if engine.adapters is None:
            from llama_nb.tuning.adapters import AdapterSet

            engine.adapters = AdapterSet(
                self.loaded.module,
                base_name=self.source,
                base_fingerprint=self.fingerprint,
                changed=functools.partial(_adapters_changed, weakref.ref(self)),
            )
        return cast("AdapterSet", engine.adapters)

    @property
    def loaded(self) -> "Loaded":
        """The weights in memory with their tokenizer; raises ModelGone after `unload`."""
        if self._loaded is None:
            raise self._gone()
        return self._loaded

    @property
    def checked(self) -> "Checked":
        """What was found in the model's folder."""
        return self._checked

    @property
    def replayed(self) -> str | None:
        """The name of the recording that answers in the model's place; None for a model with weights."""
        return self._checked.folder.name if self._kind == "replay" else None

    @property
    def alive(self) -> bool:
        """Whether the model is still loaded."""
        return self._engine is not None

    @property
    def parameters(self) -> int:
        """How many parameters it has."""
        return self._checked.parameters

    @property
    def dtype(self) -> str:
        """The number format of the weights in memory; with a quantisation, of what it leaves."""
        return self._facts[0]

    @property
    def quant(self) -> str | None:
        """The quantisation of the weights in memory ("nf4"); None when they are plain numbers."""
        return self._quantisation[0]

    @property
    def quant_notes(self) -> tuple[str, ...]:
        """Sentences on what the quantisation left out: which layers stayed in `dtype`, and why."""
        return self._quantisation[1]

    @property
    def device(self) -> str:
        """Where the weights are."""
        return self._facts[1]

    @property
    def bytes(self) -> int:
        """Bytes of the weights in memory; 0 after `unload`. Of a model that is played back: as recorded."""
        return self._facts[2] if self.alive else 0

    @property
    def held(self) -> int:
        """Bytes that unloading gives back: none if the model is played back."""
        return 0 if self.replayed else self.bytes

    @property
    def context(self) -> int:
        """How many tokens prompt and reply may have together."""
        return self._facts[3]

    @property
    def fingerprint(self) -> str:
        """Tells these weights from others: 16 hexadecimal digits."""
        return self._checked.fingerprint

    @property
    def sampling(self) -> Sampling:
        """The sampling parameters that a call without options uses."""
        return resolve({}, self._generation_config, self.context)

    @property
    def default_sampling(self) -> Sampling:
        """The sampling parameters that hold where nobody set any: the model's own, else ours."""
        return Sampling(**model_defaults(self._generation_config, self.context))

    # --- what runs, and the end ---------------------------------------------------------------------

    @property
    def last(self) -> Reply | None:
        """The reply that ended last, of whatever chat; None before the first one."""
        return self._last

    @property
    def active(self) -> tuple[Reply, ...]:
        """The replies that are being made or wait for their turn."""
        return tuple(self._active.values())

    def stop(self, reason: str = "stopped") -> int:
        """Stop every reply that is being made or waits; return how many."""
        replies = self.active
        for reply in replies:
            reply.stop(reason)
        return len(replies)

    def unload(self, force: bool = False) -> int:
        """Give the memory back and return how many bytes that was; the handle is dead afterwards.

        Raises
        ------
        ModelBusy
            If a reply is being made; with `force` it is stopped and kept instead.
        ModelGone
            If it was unloaded before.
        """
        from llama_nb.loading.weights import release

        engine, loaded = self.engine, self.loaded
        self.check_idle(force)
        freed = self.bytes
        self._engine = self._tapped = self._loaded = self._adapters = None
        self._on_unload(self)
        return engine.close() + (freed if self.replayed else release(loaded))

    def check_idle(self, force: bool) -> None:
        """Raise ModelBusy if something uses the model; with `force`, stop it and wait for its end.

        What is no reply is mostly over in a moment, and nobody in the cell asked for it: it is waited for.
        """
        self._end_training(force)
        replies = self.active
        running = self.engine.busy()
        patient_until = time.monotonic() + _LOOK_S
        while running and not (force or replies) and time.monotonic() < patient_until:
            time.sleep(_POLL_S)
            replies, running = self.active, self.engine.busy()
        if not force and (replies or running):
            chat = replies[0].chat if replies else None
            what = f"chat {chat!r} is being answered" if chat else f"a request runs ({running or 'queued'})"
            raise ModelBusy(
                f"{self.name} is in use: {what}.",
                "Wait for it, stop it (%llama stop), or unload with --force.",
            )
        self.stop("the model was unloaded")
        for reply in replies:
            reply.close_own_stream()
            reply.join(_STOP_WAIT_S)

    def _end_training(self, force: bool) -> None:
        """Raise ModelBusy if a training goes on; with `force`, stop it, which leaves a checkpoint."""
        engine = self.plain_engine
        while isinstance(engine, Trainable) and (training := engine.background()) is not None:
            if not force:
                raise ModelBusy(
                    f"{self.name} is in use: {training.purpose}, {training.detail()}.",
                    "Wait for it, stop it (%llama train stop), or unload with --force: then it is stopped, "
                    "with a checkpoint.",
                )
            training.stop("the model was unloaded")
            if not training.wait(_TRAINING_WAIT_S):
                return

    def _forget(self, cache_key: str) -> None:
        """Drop a chat's cache. The chats hold this, not the engine: they outlive an unload."""
        if self._engine is not None:
            self._engine.forget(cache_key)

    def _gone(self) -> ModelGone:
        return ModelGone(f"{self.name} was unloaded.", f"Load it again: %llama load {self.source}")

    def __repr__(self) -> str:
        if not self.alive:
            return f"Model({self.name!r}, unloaded)"
        kind = kind_label(self._checked.model_type)
        # Where outputs are compared, a model that is played back shows as the one that was recorded.
        played = f", played back from {self.replayed}" if self.replayed and detect().watched else ""
        return (
            f"{self.name}: {kind} with {number(self.parameters)} parameters, "
            f"{self.quant or self.dtype} on {self.device}, {self.bytes / 1e6:,.1f} MB, "
            f"context {self.context:,}, {adapters_said(self.adapters.active, self.adapters.names)}{played}"
        )

    # --- told by generations ------------------------------------------------------------------------

    def _add_active(self, reply: Reply) -> None:
        self._active[id(reply)] = reply

    def _drop_active(self, reply: Reply) -> None:
        self._active.pop(id(reply), None)
        if reply.tokens:
            self._last = reply
        if self._engine is not None:
            shown = {token.id for token in reply.tokens if token.id is not None}
            shown |= {other.id for token in reply.tokens for other in token.alternatives}
            reply.special = frozenset(filter(self._engine.is_special, shown))


def _adapters_changed(model: "weakref.ref[Handle]") -> None:
    """Make the caches of the model invalid and tell who watches; on its worker."""
    found = model()
    if found is not None and found.alive:
        adaptable(found).raise_state()
        publish(AdaptersChanged(found))
