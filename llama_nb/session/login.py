"""Logging in to the hub: a token is asked for, checked by the hub, and kept where huggingface_hub keeps it.

The token goes from the prompt into the standard input of a child process and nowhere else: no message, no
exception and no frame of a traceback holds it. Says where a log-in comes from, never what it is.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from llama_nb.core.errors import LlamaError
from llama_nb.runtime import hub_settings
from llama_nb.runtime.child import Ended, run_python
from llama_nb.runtime.secrets import redact

PROMPT: Final = "Token of huggingface.co/settings/tokens (not shown): "
_SECONDS: Final = 20.0  # the hub's client itself waits for ever
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_LOOK: Final = "Look at the network and the proxy: %llama doctor"
_PRINTABLE: Final = re.compile(r"[!-~]+")

# What the child does with the token; it answers with one line of JSON.
_FRAME: Final = """
import json, sys
token = sys.stdin.read()
try:
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.utils import get_stored_tokens, logging
    logging.set_verbosity(logging.CRITICAL)
    answer = {{}}
    {do}
except Exception as error:
    status = getattr(getattr(error, "response", None), "status_code", None)
    words = [getattr(cause, "server_message", None) for cause in (error.__cause__, error)]
    said = next(filter(None, words), None) or str(error)
    answer = {{"error": type(error).__name__, "status": status, "says": said}}
print(json.dumps(answer))
"""
_LOGIN: Final = _FRAME.format(
    do="huggingface_hub.login(token); answer['file'] = str(constants.HF_TOKEN_PATH)"
)
_LOGOUT: Final = _FRAME.format(
    do="answer['tokens'] = max(len(get_stored_tokens()), token == 'file'); huggingface_hub.logout()"
)
_WHO: Final = _FRAME.format(do="answer['name'] = str(huggingface_hub.whoami(token or None)['name'])")


@dataclass(frozen=True, slots=True)
class Login:
    """A log-in that was stored: in which file, and which variable wins over it (None: none does)."""

    file: Path
    overruled_by: str | None


def login(ask: Callable[[str], str]) -> Login | None:
    """Ask for a token, let the hub check it, and store it as huggingface_hub does (its file, mode 0600).

    Parameters
    ----------
    ask
        Shows a prompt and returns what is typed, as `getpass.getpass` does.

    Returns
    -------
    Login or None
        None when nothing was typed: nothing is changed then.

    Raises
    ------
    LlamaError
        If the network is forbidden or does not answer, the hub refuses the token, or it cannot be stored.
    """
    _check_way()
    answer = _ask_and_store(ask)
    # Raised here, where no frame has ever held the token.
    if answer is None:
        return None
    if isinstance(answer, LlamaError):
        raise answer
    if isinstance(answer, KeyboardInterrupt):
        raise KeyboardInterrupt
    source = hub_settings.token_source()
    return Login(Path(answer), source if source in hub_settings.TOKEN_VARIABLES else None)


def logout() -> int:
    """Remove what is stored and return how many tokens that were (0: nobody was logged in).

    Raises
    ------
    LlamaError
        If a file cannot be removed.
    """
    stored = "file" if hub_settings.token_file().is_file() else ""
    none = dict.fromkeys(hub_settings.TOKEN_VARIABLES, "")  # a variable is not ours to remove
    answer = _answer(run_python(_LOGOUT, seconds=_SECONDS, given=stored, environment=none), "")
    if isinstance(answer, LlamaError):
        raise answer
    return int(answer.get("tokens", 0))


def account() -> str:
    """Ask the hub whose log-in this is; the only place, beside `login`, where the token leaves this machine.

    Raises
    ------
    LlamaError
        If there is no log-in, or the hub refuses it or does not answer.
    """
    _check_way()
    if hub_settings.token_source() is None:
        raise LlamaError("Nobody is logged in to the hub here.", "%llama login")
    answer = _answer(run_python(_WHO, seconds=_SECONDS), "")
    if isinstance(answer, LlamaError):
        raise answer
    return str(answer["name"])


def _check_way() -> None:
    """Raise LlamaError where a token cannot or must not be sent."""
    if hub_settings.offline():
        raise LlamaError(
            "The environment says HF_HUB_OFFLINE: a token cannot be checked without the hub.",
            "Start the kernel without HF_HUB_OFFLINE, or set HF_TOKEN where it starts.",
        )
    parts = urlsplit(hub_settings.endpoint())
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise LlamaError(
            f"HF_ENDPOINT is {redact(hub_settings.endpoint())!r}: a token is not sent unencrypted.",
            "Set HF_ENDPOINT to an https address, or take it away.",
        )


def _ask_and_store(ask: Callable[[str], str]) -> str | LlamaError | KeyboardInterrupt | None:
    """Return the file the token is in, or what went wrong; None for an empty answer.

    What happens after the token was typed is returned, not raised: a traceback would hold this frame.
    """
    token = ask(PROMPT).strip()
    if not token:
        return None
    if not _PRINTABLE.fullmatch(token):
        return LlamaError(
            "That is not a token: there are blanks or other letters in it. It was not sent.",
            "Copy the token alone (it begins with hf_) and run %llama login again.",
        )
    try:
        answer = _answer(run_python(_LOGIN, seconds=_SECONDS, given=token), token)
    except KeyboardInterrupt as interrupt:
        return interrupt.with_traceback(None)
    except Exception as error:  # noqa: BLE001 - its frames hold the token
        return LlamaError(f"The log-in failed: {_hide(str(error), token)} ({type(error).__name__}).")
    return answer if isinstance(answer, LlamaError) else str(answer["file"])


def _answer(ended: Ended, token: str) -> dict[str, str] | LlamaError:
    """Return what the child answered, or the error to raise."""
    if ended.code is None:
        return LlamaError(
            f"The hub did not answer within {_SECONDS:.0f} s; nothing was changed.",
            _LOOK,
        )
    try:
        answer = json.loads(ended.out.strip().splitlines()[-1])
    except (ValueError, IndexError):
        last = (ended.err.strip().splitlines() or ["it said nothing"])[-1]
        return LlamaError(
            f"huggingface_hub {ended.how}: {_hide(last, token)}", "pip install -U huggingface_hub"
        )
    return _refusal(answer, token) if "error" in answer else dict(answer)


def _refusal(answer: dict[str, object], token: str) -> LlamaError:
    status, kind = answer.get("status"), str(answer["error"])
    said = _hide(" ".join(str(answer.get("says") or kind).split()), token)[:300]
    if status in (401, 403):
        return LlamaError(
            f"The hub refused the token ({status}): {said}",
            "Make one with read access at https://huggingface.co/settings/tokens, then %llama login",
        )
    if status is not None:
        return LlamaError(f"The hub answered {status}: {said}", "Try again later.")
    if kind in ("PermissionError", "FileNotFoundError", "NotADirectoryError", "OSError", "FileExistsError"):
        return LlamaError(f"The token could not be stored or removed: {said}", "%llama doctor")
    if kind in ("ValueError", "ImportError", "ModuleNotFoundError"):
        return LlamaError(said)
    return LlamaError(
        f"The hub cannot be reached: {said}", "Look at the network and the proxy: %llama doctor"
    )


def _hide(text: str, token: str) -> str:
    """Take a token out of a text, whole, also where it was written into an address."""
    for form in {token, quote(token), quote(token, safe="")} - {""}:
        text = text.replace(form, "***")
    return redact(text)
