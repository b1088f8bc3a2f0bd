"""Imports the native libraries in a child process: one that crashes or hangs there harms no kernel.

One child imports them all, since each needs torch; where one of them ends it, another child goes on.
"""

import importlib.util
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from llama_nb.runtime.child import Ended, run_python

LIBRARIES: Final = ("torch", "bitsandbytes", "optimum.quanto", "torchao", "gguf")
_SECONDS: Final = 40.0  # for one child; torch and all four libraries took 8 to 11 s on a busy 4-core machine

_CHILD: Final = """
import importlib, json, sys, warnings

def torch(module):
    cuda = module.cuda.is_available()
    return {
        "version": module.__version__, "cuda": module.version.cuda, "hip": module.version.hip,
        "available": cuda, "count": module.cuda.device_count() if cuda else 0,
        "mps": bool(module.backends.mps.is_available()), "threads": module.get_num_threads(),
    }

def bitsandbytes(module):
    import torch
    # Its native library is loaded here, or stands in for itself and fails at the first use.
    module.functional.quantize_4bit(torch.zeros(64, 64), quant_type="nf4")
    return {}

for name in sys.stdin.read().split():
    print(json.dumps({"begins": name}), flush=True)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            module = importlib.import_module(name)
            facts = globals()[name](module) if name in ("torch", "bitsandbytes") else {}
            facts["warning"] = next((str(each.message) for each in said if "CUDA" in str(each.message)), "")
            answer = {"name": name, "facts": facts}
        except BaseException as error:
            answer = {"name": name, "error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Imported:
    """How an import went: `error` is empty when it worked, `facts` is what the library said about itself."""

    installed: bool
    error: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


class Imports:
    """The results of one examination, found out when the first of them is asked for.

    Parameters
    ----------
    seconds
        The longest that each child may take.
    """

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._results: dict[str, Imported] | None = None

    def of(self, name: str) -> Imported:
        """Return how the import of one of `LIBRARIES` went; waits for it."""
        with self._lock:
            if self._results is None:
                self._results = probe(LIBRARIES, self._seconds)
            return self._results[name]


def probe(names: Sequence[str], seconds: float) -> dict[str, Imported]:
    """Import libraries in child processes and return how each import went."""
    there = [name for name in names if is_installed(name)]
    results = {name: Imported(installed=False) for name in names if name not in there}
    while there:
        ended = run_python(_CHILD, seconds=seconds, given=" ".join(there))
        found = _read(ended)
        results.update(found)
        there = [name for name in there if name not in found]
        if not found or found.get("torch", Imported(installed=True)).error:
            # A child that could not even begin, or no torch: the others cannot be tried.
            why = "was not tried, since torch cannot be imported" if found else _last_words(ended)
            results.update({name: Imported(installed=True, error=why) for name in there})
            break
    return results


def is_installed(name: str) -> bool:
    """Return whether a library could be imported, without importing it."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _read(ended: Ended) -> dict[str, Imported]:
    """Return what a child said about each library; one that it began and did not end ended it."""
    results: dict[str, Imported] = {}
    begun = ""
    for line in ended.out.splitlines():
        try:
            answer = json.loads(line)
        except ValueError:
            continue  # what a library prints while it is imported
        if not isinstance(answer, dict):
            continue
        begun = answer.get("begins", "")
        if "name" in answer:
            results[answer["name"]] = Imported(True, answer.get("error", ""), answer.get("facts", {}))
    if begun:
        results[begun] = Imported(installed=True, error=_last_words(ended))
    return results


def _last_words(ended: Ended) -> str:
    # What was printed before it hung is about something else.
    last = "" if ended.code is None else (ended.err.strip().splitlines() or [""])[-1]
    return f"its import {ended.how}" + (f": {last}" if last else "")
