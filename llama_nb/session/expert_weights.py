"""Norms and similarities of the experts' weights, computed once for each model while a page asks for them."""

import threading
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.stop import StopFlag
from llama_nb.session.measuring import measured

if TYPE_CHECKING:
    from llama_nb.interpret.expert_weights import ExpertWeights
    from llama_nb.session.model import Model

_WHAT: Final = "comparing the experts"
_MOST: Final = 4  # models whose figures are kept: a few MB each at most

_known: "dict[str, ExpertWeights]" = {}
_lock = threading.Lock()


def expert_weights(model: "Model", stop: StopFlag) -> "ExpertWeights":
    """Return them, computed where the model runs unless they are known.

    Raises
    ------
    UnsupportedError
        If the experts' weights cannot be looked at one by one.
    Stopped
        If `stop` was set.
    """

    def work(module: Any, stopped: Any) -> "ExpertWeights":
        from llama_nb.interpret.expert_weights import compare_experts

        return compare_experts(module, stopped=stopped)

    with _lock:
        known = _known.get(model.fingerprint)
    if known is not None:
        return known
    found = measured(model.engine, stop, work, _WHAT)
    with _lock:
        _known[model.fingerprint] = found
        while len(_known) > _MOST:
            del _known[next(iter(_known))]
    return found
