"""`llama.doctor()`: runs every check at the same time and waits for none longer than its time.

A check runs in a thread of its own, which does not keep the interpreter from ending. One that raises or hangs
is itself a finding.
"""

import contextvars
import functools
import importlib
import pkgutil
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from llama_nb.core.events import Progress, publish
from llama_nb.runtime import environment
from llama_nb.session.doctor import checks
from llama_nb.session.doctor.check import Check, problem
from llama_nb.session.doctor.diagnosis import Diagnosis
from llama_nb.session.doctor.scope import Scope

_SECONDS: Final = 90.0  # for everything; the imports in child processes are the longest by far
# The order in which a reader asks; files not named here follow by name.
_FIRST: Final = ("python", "libraries", "compute", "quantisation", "page")
_WHAT: Final = "examining this installation"

Examiner: TypeAlias = Callable[[Scope], Iterable[Check]]


def doctor(*, account: bool = False) -> Diagnosis:
    """Examine this installation and return what was found, problems first.

    Parameters
    ----------
    account
        Ask the hub whose log-in this is. Without it no token leaves this machine.
    """
    found = {name: importlib.import_module(f"{checks.__name__}.{name}").check for name in names()}
    return examine(found, Scope(environment.detect(), account))


def names() -> tuple[str, ...]:
    """Return the names of the files in `checks/`, in order."""
    found = {module.name for module in pkgutil.iter_modules(checks.__path__)}
    return (*(name for name in _FIRST if name in found), *sorted(found.difference(_FIRST)))


def examine(examiners: dict[str, Examiner], scope: Scope, seconds: float = _SECONDS) -> Diagnosis:
    """Run examiners at the same time for at most `seconds` and return what they found."""
    answers: queue.SimpleQueue[tuple[str, Sequence[Check]]] = queue.SimpleQueue()
    found: dict[str, Sequence[Check]] = {}
    for name, examiner in examiners.items():
        run = functools.partial(_run, name, examiner, scope, answers)
        # In this cell's context: what asks who watches gets the same answer as here.
        target = functools.partial(contextvars.copy_context().run, run)
        threading.Thread(target=target, name=f"doctor {name}", daemon=True).start()
    until = time.monotonic() + seconds
    try:
        while len(found) < len(examiners):
            publish(Progress(_WHAT, len(found), len(examiners), "checks"))
            name, said = answers.get(timeout=max(until - time.monotonic(), 0.0))
            found[name] = said
    except queue.Empty:
        late = [name for name in examiners if name not in found]
        found.update({name: [_late(name)] for name in late})
    finally:
        publish(Progress(_WHAT, len(found), len(examiners), "checks", ended=True))
    return Diagnosis(tuple(check for name in examiners for check in found[name]))


def _run(
    name: str, examiner: Examiner, scope: Scope, answers: "queue.SimpleQueue[tuple[str, Sequence[Check]]]"
) -> None:
    said: list[Check] = []
    try:
        # One by one: what was found before a check failed stays.
        for check in examiner(scope):
            said.append(check)  # noqa: PERF402
    except BaseException as error:  # noqa: BLE001 - a check that fails must not take the others with it
        said.append(
            problem(
                name,
                f"This check itself failed ({type(error).__name__}).",
                "Report it, with the text of %llama doctor --report.",
                str(error),
            )
        )
    answers.put((name, said))


def _late(name: str) -> Check:
    return problem(
        name, "This check did not end in time: something it asks hangs.", "Run %llama doctor again."
    )
