"""Python code in a process of its own, with a time-out: what it breaks or hangs on is not the kernel.

The child leaves our process group, so that the kernel's interrupt does not hit it halfway; when the wait for
it ends, however it ends, it is gone. What it gets on standard input stands in no argument and no variable.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_LONGEST: Final = 20_000  # characters of output that are kept


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: `code` is its exit status (negative: the signal), None when it ran out of time."""

    code: int | None
    out: str
    err: str

    @property
    def how(self) -> str:
        """The end in words: "ended", "failed", "crashed (SIGSEGV)" or "did not end in time"."""
        if self.code is None:
            return "did not end in time"
        if self.code >= 0:
            return "failed" if self.code else "ended"
        try:
            return f"crashed ({signal.Signals(-self.code).name})"
        except ValueError:
            return f"crashed (signal {-self.code})"


def run_python(
    code: str, *, seconds: float, given: str = "", environment: Mapping[str, str] | None = None
) -> Ended:
    """Run Python code in a child and return how it ended, after `seconds` at the latest.

    Parameters
    ----------
    given
        Its standard input.
    environment
        Variables beside those of this process.
    """
    # Where this process is killed first, nobody ends the child: then it ends itself, even within native code.
    watch = f"import faulthandler; faulthandler.dump_traceback_later({seconds + 5}, exit=True)\n"
    # -P: a file beside the notebook does not take the place of a library.
    process = subprocess.Popen(  # noqa: S603 - this interpreter, and code of ours
        [sys.executable, "-P", "-c", watch + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    try:
        out, err = process.communicate(given.encode(), timeout=seconds)
        ended: int | None = process.returncode
    except subprocess.TimeoutExpired as late:
        out, err, ended = late.output or b"", late.stderr or b"", None
    finally:
        end(process)
    return Ended(ended, *(text.decode("utf-8", "replace")[-_LONGEST:] for text in (out, err)))


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kill a child with all that it started, if it still runs, and give its pipes back."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
