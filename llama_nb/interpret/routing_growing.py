"""A RoutingTrace that grows: a token more with each that a running reply hands back to its model.

While the model runs, what its routers return is put aside and nothing else. Who reads the trace has it made
into routes, on its own thread; what stands at a moment is one value that the next one replaces. Knows
modules; knows no chats and no pages.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from llama_nb.engines.places import decoder_of
from llama_nb.engines.routers import Router, find_routers
from llama_nb.interpret.passages import Passages
from llama_nb.interpret.routes import Routes, RoutesRoom
from llama_nb.interpret.routing import Routing, RoutingTrace
from llama_nb.interpret.routing_capture import listening, settle

Described = Callable[[Sequence[int]], tuple[Sequence[str], Sequence[bool]]]
Settle = Callable[[list["Step"], int], tuple[Routes, Any, Sequence[str], Sequence[bool]]]


class Step:
    """One forward pass: the new tokens that it read, and what each router returned."""

    __slots__ = ("ids", "outputs")

    def __init__(self, ids: list[int], outputs: list[Any]) -> None:
        self.ids, self.outputs = ids, outputs


class GrowingRouting(RoutingTrace):
    """A trace to which `grow` adds tokens. Every method of a trace works at any time, from any thread."""

    growing = True

    def __init__(self, routing: Routing, **about: Any) -> None:
        super().__init__(routing, **about)
        self._room = RoutesRoom(routing.routes)
        self._lock = threading.Lock()
        self._steps: list[Step] = []
        self._length = len(routing.passages)
        self._settle: Settle | None = None

    @property
    def _routing(self) -> Routing:
        with self._lock:  # whoever reads while another one settles gets what both see
            self._take()
            return self._kept

    @property
    def length(self) -> int:
        """How many tokens there are, N; asking costs nothing."""
        return self._length

    def now(self) -> RoutingTrace:
        """Return a trace that stays as this one is now; it shares the arrays."""
        return RoutingTrace(
            self._routing,
            mixture=self.mixture,
            model=self.model,
            fingerprint=self.fingerprint,
            title=self.title,
            prompt=self.prompt,
            off=self.off,
        )

    def begin(self, settle: Settle) -> None:
        """Learn how steps are made into routes."""
        self._settle = settle

    def add(self, step: Step) -> None:
        """Put a step aside; on the thread that runs the model."""
        self._steps.append(step)
        self._length += len(step.ids)

    def finish(self) -> None:
        """Say that no more tokens come."""
        _ = self._routing
        self._settle = None  # the module goes with its owner
        self.growing = False

    def _take(self) -> None:
        """Make what was put aside into routes."""
        steps = self._steps[:]
        del self._steps[: len(steps)]
        if not steps or self._settle is None:
            return
        before = self._kept
        routes, mass, texts, special = self._settle(steps, before.routes.chosen.shape[2])
        ids = [token for step in steps for token in step.ids]
        controls = {token for token, is_special in zip(ids, special, strict=True) if is_special}
        passages = Passages(
            np.concatenate([before.passages.ids, np.array(ids, np.int32)]),
            (*before.passages.words, *texts),
            before.passages.special_ids | controls,
            np.array([0, len(before.passages) + len(ids)], np.int64),
        )
        self._kept = Routing(self._room.add(routes), passages, before.mass + mass)


@contextlib.contextmanager
def grow(
    module: Any, trace: GrowingRouting, described: Described, on_step: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Add all tokens that `module` reads inside the block and that the trace does not have yet.

    Parameters
    ----------
    module
        A causal language model; it must read one sequence, with a cache, in order.
    trace
        Has the tokens before.
    described
        Says what tokens show as, and which are control tokens.
    on_step
        Called after each pass that read new ones, on the thread that runs the model.
    """
    routers = find_routers(module)
    place = [0]

    def begins(_module: Any, _given: Any, named: dict[str, Any]) -> None:
        place[0] = int(named["past_key_values"].get_seq_length())

    def ends(_module: Any, _given: Any, named: dict[str, Any], _output: Any) -> None:
        count = named["input_ids"].shape[1]
        new = place[0] + count - trace.length
        if 0 < new <= count:  # the prompt is there already
            taken = [_last(output, new) for (output,) in outputs]
            trace.add(Step(named["input_ids"][0, -new:].tolist(), taken))
        outputs.clear()
        if 0 < new <= count:
            on_step()

    def settled(steps: list[Step], top_k: int) -> tuple[Routes, Any, Sequence[str], Sequence[bool]]:
        texts, special = described([token for step in steps for token in step.ids])
        return *_settle(routers, steps, top_k), texts, special

    trace.begin(settled)
    decoder = decoder_of(module)
    with contextlib.ExitStack() as stack:
        stack.callback(trace.finish)
        outputs = stack.enter_context(listening(routers))
        stack.callback(decoder.register_forward_pre_hook(begins, with_kwargs=True).remove)
        stack.callback(decoder.register_forward_hook(ends, with_kwargs=True).remove)
        yield


@torch.inference_mode()
def _settle(routers: Sequence[Router], steps: Sequence[Step], top_k: int) -> tuple[Routes, Any]:
    """Return the routes of steps that follow each other, and what they add to the mass, (1, L, E)."""
    outputs = [
        [tuple(torch.cat(pieces) for pieces in zip(*parts, strict=True))]
        for parts in zip(*(step.outputs for step in steps), strict=True)
    ]
    length = sum(len(step.ids) for step in steps)
    (routes,), mass = settle(routers, outputs, length, [length], top_k)
    return routes, mass


def _last(output: Any, count: int) -> Any:
    """Return what a router said about the last `count` tokens of a pass."""
    return tuple(part[-count:] for part in output)
