"""Calls of functions in a cell: each is one output, replaced when what it gives is there.

How a call looks is `render/tools.py`'s business; whether it may run is the session's. While somebody is asked
for a call nothing is shown here: the question names it, and what came of it stands below the question.
"""

import contextvars
from typing import Any

from llama_nb.render.tools import call_bundle
from llama_nb.runtime.environment import Environment
from llama_nb.widgets.output import Output


class CallOutputs:
    """The calls that are on their way; where nobody watches each is shown once, when it is decided."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._shown: dict[int, tuple[str, contextvars.Context]] = {}

    def advance(self, call: Any, environment: Environment, *, as_text: bool) -> None:
        """Show the state that `call` is in."""
        if not call.done and call.state != "running":
            return
        bundle = call_bundle(call.to_record())
        if as_text or environment.kind == "terminal":
            if call.done:
                self._output.write(f"[{bundle['text/plain']}]\n")
            return
        if not environment.watched:
            if call.done:
                self._output.display(bundle)
            return
        known = self._shown.pop(id(call), None)
        if known is None:
            known = (self._output.new_id(), contextvars.copy_context())
            self._output.display(bundle, known[0])
        else:
            known[1].run(self._output.update, bundle, known[0])
        if not call.done:
            self._shown[id(call)] = known
