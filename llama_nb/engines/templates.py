"""Chat templates are programs of strangers: they are rendered in a child process, within time and memory.

A template that comes with this package, or that is one of Meta's, is rendered in this process.
"""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jinja2

from llama_nb.core.errors import TemplateError
from llama_nb.engines import template_render

TIME_LIMIT: Final = 4.0  # seconds for one prompt
_START_LIMIT: Final = 30.0
# SHA-256 of the templates of Llama 3, 3.1 and 3.2 Instruct, with and without a newline at the end.
KNOWN: Final = frozenset(
    {
        "ba03a121d097859c7b5b9cd03af99aafe95275210d2876f642ad9929a150f122",
        "e10ca381b1ccc5cf9db52e371f3b6651576caee0a630b452e2816b2d404d4b65",
        "93c0e9aa3629bbd77e68dbc0f5621f6e6b23aa8d74b932595cdb8d64684526d7",
        "5816fce10444e03c2e9ee1ef8a4a1ea61ae7e69e438613f3b17b69d0426223a4",
        "d82792f95932f1c9cef5c4bd992f171225e3bf8c7b609b4557c9e1ec96be819f",
    }
)


class TemplateRenderer:
    """Renders one model's template.

    Parameters
    ----------
    template
        The template's source.
    model
        The model's name, for messages.
    trusted
        Render in this process: the template is our own.
    """

    def __init__(self, template: str, model: str, *, trusted: bool = False) -> None:
        self._template = template
        self._model = model
        self._trusted = trusted or hashlib.sha256(template.encode()).hexdigest() in KNOWN
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None

    def render(self, many: Sequence[Mapping[str, Any]]) -> list[str | None]:
        """Render once for each of `many` sets of variables; all but the first may fail (None).

        Raises
        ------
        TemplateError
            If the first one fails, or if the budget of time, length or memory is used up.
        """
        if not self._trusted:
            with self._lock:
                return self._ask({"template": self._template, "many": list(many)})
        texts: list[str | None] = []
        for number, variables in enumerate(many):
            try:
                texts.append(template_render.render(self._template, variables))
            except (jinja2.TemplateError, ValueError, TypeError, LookupError) as error:
                if number == 0:
                    raise self._failed(str(error)) from None
                texts.append(None)
        return texts

    def close(self) -> None:
        """End the child process, if there is one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()

    def _failed(self, reason: str) -> TemplateError:
        return TemplateError(
            f"The chat template of {self._model} cannot be rendered: {reason}.",
            "Check the messages, or use `%%llama complete` with text that you write yourself.",
        )

    def _ask(self, task: dict[str, Any]) -> list[str | None]:
        if self._child is None or self._child.poll() is not None:
            self._child = _start()
            if self._exchange("", _START_LIMIT) != "ready":
                self.close()
                raise self._failed("its child process does not start")
        line = self._exchange(json.dumps(task) + "\n", TIME_LIMIT)
        if not line:
            self.close()
            raise self._failed(f"it takes more than {TIME_LIMIT:g} seconds or too much memory")
        answer = json.loads(line)
        if "error" in answer:
            raise self._failed(str(answer["error"])[:300])
        return list(answer["texts"])

    def _exchange(self, text: str, limit: float) -> str:
        """Send a line and return the answer, "" when the child is gone or was ended after `limit` seconds."""
        child = self._child
        assert child is not None
        assert child.stdin is not None
        assert child.stdout is not None
        timer = threading.Timer(limit, child.kill)
        timer.daemon = True
        timer.start()
        try:
            if text:
                child.stdin.write(text)
                child.stdin.flush()
            return child.stdout.readline().strip()
        except (OSError, ValueError):
            return ""
        except BaseException:
            self.close()  # an interrupt: the next answer would be this one's
            raise
        finally:
            timer.cancel()


def _start() -> "subprocess.Popen[str]":
    # A session of its own: a kernel's interrupt goes to its whole process group.
    program = str(Path(template_render.__file__).resolve())
    return subprocess.Popen(  # noqa: S603 - our own file under our own interpreter
        [sys.executable, "-I", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
