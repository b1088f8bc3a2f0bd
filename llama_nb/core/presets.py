"""Sampling parameters under a name: ours by character, and what Meta published for each family of Llama.

Values only. Where users keep their own ones is the runtime's business (`runtime/presets.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Preset:
    """Some sampling parameters under a name.

    Attributes
    ----------
    name
        What `--preset` calls it.
    values
        The parameters that it sets; all others stay as they are.
    source
        Where the values come from.
    """

    name: str
    values: Mapping[str, Any]
    source: str


def _preset(
    name: str, source: str, temperature: float, top_p: float = 1.0, min_p: float = 0.0
) -> tuple[str, Preset]:
    """A preset that says all of what shapes a distribution, so that nothing set before mixes with it."""
    values = {
        "temperature": temperature,
        "top_k": 0,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": 1.0,
    }
    return name, Preset(name, MappingProxyType(values), source)


_OURS: Final = "llama-nb"
# The defaults of Meta's own chat programs. Those of llama-models run every model of the third generation.
_LLAMA_2: Final = "github.com/meta-llama/llama, example_chat_completion.py"
_CODE_LLAMA: Final = "github.com/meta-llama/codellama, example_instructions.py"
_LLAMA_3: Final = "github.com/meta-llama/llama3, example_chat_completion.py"
_LLAMA_3_X: Final = "github.com/meta-llama/llama-models, models/llama3/scripts/chat_completion.py"
_LLAMA_4: Final = "github.com/meta-llama/llama-models, models/llama4/scripts/chat_completion.py"

PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    dict(
        [
            _preset("deterministic", f"{_OURS}: the likeliest token, always", 0.0),
            _preset("precise", f"{_OURS}: close to the likeliest", 0.3, top_p=0.9),
            _preset("balanced", f"{_OURS}: some variety", 0.7, top_p=0.95),
            _preset("creative", f"{_OURS}: much variety, without the improbable", 1.1, min_p=0.05),
            _preset("llama-2", _LLAMA_2, 0.6, top_p=0.9),
            _preset("code-llama", _CODE_LLAMA, 0.2, top_p=0.95),
            _preset("llama-3", _LLAMA_3, 0.6, top_p=0.9),
            _preset("llama-3.1", _LLAMA_3_X, 0.6, top_p=0.9),
            _preset("llama-3.2", _LLAMA_3_X, 0.6, top_p=0.9),
            _preset("llama-3.3", _LLAMA_3_X, 0.6, top_p=0.9),
            _preset("llama-4", _LLAMA_4, 0.6, top_p=0.9),
        ]
    )
)
