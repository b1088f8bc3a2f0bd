"""A real ipykernel behind a small, single-threaded client, for tests.

`Kernel.run` executes one cell and folds its messages into a `Result` as a front end would: updates replace
the display they belong to, `clear_output` clears. `submit` and `wait` are the two halves, for cells that are
interrupted or queued. Nothing here knows llama_nb.
"""

import ast
import os
import queue
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from jupyter_client import KernelManager

Message = dict[str, Any]
SHOWN = {"display_data", "execute_result", "stream", "error"}


@dataclass
class Result:
    """What one cell did, as far as its messages have arrived."""

    msg_id: str
    messages: list[Message] = field(default_factory=list)
    reply: Message | None = None
    idle: bool = False
    all_updates: list[Message] = field(default_factory=list)

    @property
    def status(self) -> str:
        """The cell's reply: "ok", "error", "aborted", or "running" before there is one."""
        return "running" if self.reply is None else str(self.reply["content"]["status"])

    @property
    def done(self) -> bool:
        """Whether the cell has ended and its last message has arrived."""
        return self.reply is not None and (self.idle or self.status == "aborted")

    @property
    def outputs(self) -> list[Message]:
        """The outputs as a front end holds them now: a list of nbformat-like dicts.

        A display is updated by its id, whichever cell the update was sent from.
        """
        return fold(self.messages, self.all_updates)

    @property
    def displays(self) -> list[Message]:
        """The content of every display_data and execute_result message, without updates applied."""
        return self._contents("display_data", "execute_result")

    @property
    def updates(self) -> list[Message]:
        """The content of every update_display_data message."""
        return self._contents("update_display_data")

    @property
    def comms(self) -> list[Message]:
        """The content of every comm message to the page."""
        return self._contents("comm_open", "comm_msg", "comm_close")

    @property
    def value(self) -> Any:
        """The mime bundle of the execute_result, or None."""
        results = self._contents("execute_result")
        return results[-1]["data"] if results else None

    @property
    def stdout(self) -> str:
        """Everything written to standard output."""
        return "".join(out["text"] for out in self._contents("stream") if out["name"] == "stdout")

    @property
    def stderr(self) -> str:
        """Everything written to standard error."""
        return "".join(out["text"] for out in self._contents("stream") if out["name"] == "stderr")

    @property
    def text(self) -> str:
        """What a reader without HTML sees: standard output and each output's text/plain, in order."""
        parts = [
            out["text"] if out["output_type"] == "stream" else str(out.get("data", {}).get("text/plain", ""))
            for out in self.outputs
            if out["output_type"] != "error"
        ]
        return "\n".join(part.rstrip("\n") for part in parts if part)

    @property
    def error(self) -> Message | None:
        """The error shown (ename, evalue, traceback), or None."""
        errors = self._contents("error")
        return errors[-1] if errors else None

    @property
    def error_text(self) -> str:
        """The error's lines without colours, or an empty string."""
        return strip_ansi("\n".join(self.error["traceback"])) if self.error else ""

    def _contents(self, *kinds: str) -> list[Message]:
        return [message["content"] for message in self.messages if message["msg_type"] in kinds]


class Kernel:
    """One kernel process. Use it as a context manager; share one per test module, since it takes seconds.

    Parameters
    ----------
    environment
        Variables added to the kernel's own.
    cwd
        The folder it runs in.
    """

    def __init__(
        self, environment: Mapping[str, str] | None = None, cwd: str | os.PathLike[str] | None = None
    ) -> None:
        self.manager = KernelManager(kernel_name="python3")
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHON_COLORS": "0"}
        variables.pop("JPY_SESSION_NAME", None)
        self._options: dict[str, Any] = {"env": {**variables, **(environment or {})}}
        if cwd is not None:
            self._options["cwd"] = os.fspath(cwd)
        self._results: dict[str, Result] = {}
        self._updates: list[Message] = []

    def __enter__(self) -> Self:
        self.manager.start_kernel(**self._options)
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def submit(self, code: str, *, allow_stdin: bool = True, stop_on_error: bool = True) -> Result:
        """Send a cell and return at once; its Result fills while any method here waits."""
        msg_id = self.client.execute(code, allow_stdin=allow_stdin, stop_on_error=stop_on_error)
        return self._result(msg_id)

    def run(self, code: str, *, allow_stdin: bool = True, timeout: float = 120) -> Result:
        """Execute a cell and return when it has ended."""
        return self.wait(self.submit(code, allow_stdin=allow_stdin), timeout)

    def ok(self, code: str, *, allow_stdin: bool = True, timeout: float = 120) -> Result:
        """Execute a cell that must not fail."""
        result = self.run(code, allow_stdin=allow_stdin, timeout=timeout)
        assert result.status == "ok", result.error_text or result.status
        return result

    def evaluate(self, expression: str) -> Any:
        """Return the value of a Python expression in the kernel (a literal: numbers, text, lists, dicts)."""
        msg_id = self.client.execute("", silent=True, user_expressions={"value": expression})
        result = self.wait(self._result(msg_id))
        assert result.reply is not None
        answer = result.reply["content"]["user_expressions"]["value"]
        assert answer["status"] == "ok", answer
        return ast.literal_eval(answer["data"]["text/plain"])

    def wait(self, result: Result, timeout: float = 120) -> Result:
        """Return when the cell has ended."""
        return self.until(lambda: result.done, timeout) and result

    def until(self, condition: Callable[[], bool], timeout: float = 120) -> Any:
        """Read messages until `condition` holds; fail when it does not in time."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the kernel did not get there in {timeout} s")
            if not self.manager.is_alive():
                raise RuntimeError("the kernel has died")
            self._read(0.05)
        return True

    def pump(self, seconds: float) -> None:
        """Read messages for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._read(0.05)

    def interrupt(self, after: float = 0.0) -> None:
        """Interrupt the kernel now, or from a timer `after` seconds (a signal: safe from any thread)."""
        if after:
            threading.Timer(after, self.interrupt).start()
        else:
            assert self.pid is not None
            os.kill(self.pid, signal.SIGINT)

    @property
    def pid(self) -> int | None:
        """The kernel's process."""
        return getattr(self.manager.provisioner, "pid", None)

    def complete(self, code: str, cursor: int | None = None) -> list[str]:
        """Return what Tab offers at the cursor (the end, unless said), over the wire."""
        msg_id = self.client.complete(code, len(code) if cursor is None else cursor)
        reply = self._shell_reply(msg_id)
        return list(reply["content"]["matches"])

    def inspect(self, code: str) -> str:
        """Return what `?` shows for the name at the end of `code`."""
        msg_id = self.client.inspect(code, len(code))
        return strip_ansi(self._shell_reply(msg_id)["content"]["data"].get("text/plain", ""))

    def send_comm(self, comm_id: str, data: Mapping[str, Any]) -> None:
        """Send a comm message as a page does."""
        message = self.client.session.msg("comm_msg", {"comm_id": comm_id, "data": dict(data)})
        self.client.shell_channel.send(message)

    def _shell_reply(self, msg_id: str) -> Message:
        result = self._result(msg_id)
        self.until(lambda: result.reply is not None)
        assert result.reply is not None
        return result.reply

    def _read(self, timeout: float) -> None:
        try:
            self._file(self.client.get_iopub_msg(timeout=timeout))
            while True:
                self._file(self.client.get_iopub_msg(timeout=0))
        except queue.Empty:
            pass
        try:
            while True:
                reply = self.client.get_shell_msg(timeout=0)
                self._of(reply).reply = reply
        except queue.Empty:
            pass

    def _file(self, message: Message) -> None:
        result = self._of(message)
        if message["msg_type"] == "status":
            result.idle = result.idle or message["content"]["execution_state"] == "idle"
        if message["msg_type"] == "update_display_data":
            self._updates.append(message)
        result.messages.append(message)

    def _of(self, message: Message) -> Result:
        return self._result(message["parent_header"].get("msg_id", ""))

    def _result(self, msg_id: str) -> Result:
        return self._results.setdefault(msg_id, Result(msg_id, all_updates=self._updates))


def fold(messages: list[Message], updates: list[Message]) -> list[Message]:
    """Turn a cell's iopub messages into its outputs, applying clear_output and `updates` (of any cell)."""
    outputs: list[Message] = []
    clear_later = False
    for message in messages:
        kind, content = message["msg_type"], message["content"]
        if kind == "clear_output":
            clear_later = content.get("wait", False)
            if not clear_later:
                outputs.clear()
        elif kind in SHOWN:
            if clear_later:
                outputs.clear()
                clear_later = False
            _append(outputs, kind, content)
    for message in updates:
        content = message["content"]
        for out in outputs:
            if out["display_id"] is not None and out["display_id"] == content["transient"]["display_id"]:
                out.update(data=content["data"], metadata=content["metadata"])
    return outputs


def _append(outputs: list[Message], kind: str, content: Message) -> None:
    last = outputs[-1] if outputs else {}
    if kind == "stream" and last.get("output_type") == "stream" and last["name"] == content["name"]:
        last["text"] += content["text"]
        return
    display_id = content.get("transient", {}).get("display_id")
    outputs.append({"output_type": kind, **content, "display_id": display_id})


def strip_ansi(text: str) -> str:
    """Return `text` without colour codes."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
