"""Renders a chat template with Jinja in a sandbox; also the program of the child process that does so.

Standard library and Jinja only, and imported by path in the child: it must not import from llama_nb.
"""

import datetime as dt
import json
import signal
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_TEXT = 16_000_000  # characters; the longest contexts of today need about 500,000
MAX_MEMORY = 1_000_000_000  # bytes of address space that rendering may take


class _Generation(Extension):
    """Accepts `{% generation %}`, which marks the text to train on and adds nothing."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own interface

    def parse(self, parser: Any) -> Any:
        """Return the statements between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


@lru_cache(maxsize=8)
def _compile(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: dt.datetime.now().astimezone().strftime(form)
    return environment.from_string(template)


def render(template: str, variables: Mapping[str, Any]) -> str:
    """Return `template` with `variables`; raises jinja2.TemplateError, or ValueError for an endless text."""
    parts: list[str] = []
    length = 0
    for part in _compile(template).generate(**variables):
        parts.append(part)
        length += len(part)
        if length > MAX_TEXT:
            raise ValueError(f"it makes a text of more than {MAX_TEXT:,} characters")
    return "".join(parts)


def _answer(line: str) -> dict[str, Any]:
    task = json.loads(line)
    texts: list[str | None] = []
    for number, variables in enumerate(task["many"]):
        try:
            texts.append(render(task["template"], variables))
        except MemoryError:
            return {"error": "it needs too much memory"}
        except Exception as error:  # noqa: BLE001 - a template can raise anything
            if number == 0:
                return {"error": str(error) or type(error).__name__}
            texts.append(None)
    return {"texts": texts}


def main() -> None:
    """Answer one JSON line with one JSON line until the input ends."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    except (ImportError, ValueError, OSError):
        pass  # not on Windows; the parent's time limit remains
    print("ready", flush=True)
    for line in sys.stdin:
        if hasattr(signal, "alarm"):
            signal.alarm(30)  # should the parent die while a template never ends
        try:
            answer = json.dumps(_answer(line))
        except MemoryError:
            answer = json.dumps({"error": "it needs too much memory"})
        if hasattr(signal, "alarm"):
            signal.alarm(0)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
