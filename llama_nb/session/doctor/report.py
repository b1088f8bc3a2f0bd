"""A text that can be pasted into a public bug report: who wrote it, where, and with which keys is taken out.

What is known about this process is replaced by name: keys and proxies of its variables, the stored token, the
folders, the user, the machine. What only looks like a key or a person's folder is replaced by its shape.
"""

import contextlib
import getpass
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from llama_nb.runtime import hub_settings
from llama_nb.runtime.environment import notebook_path
from llama_nb.runtime.secrets import redact, secret_values

_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_QUERY: Final = re.compile(
    r"([?&][\w.-]*(?:token|key|secret|password|sig|auth)[\w.-]*=)[^&\s#]+", re.IGNORECASE
)
_HOMES: Final = re.compile(r"(?:/home|/Users|[A-Za-z]:\\Users)[/\\][^/\\\s:'\",)]+")
_NOTEBOOK: Final = re.compile(r"[^\s/\\'\"(]+\.ipynb\b")
_SHORTEST: Final = 3  # a user called "al" would take letters out of words
_COMMON: Final = frozenset({"root", "user", "python", "llama", "jovyan", "localhost"})  # tell nothing


def bug_report(text: str) -> str:
    """Return `text` without what identifies its writer or opens a door."""
    for value in sorted(_private_values(), key=len, reverse=True):
        text = text.replace(value, "(secret)")
    text = _CREDENTIALS.sub("(credentials)", text)
    text = _QUERY.sub(r"\1(secret)", text)
    text = redact(text, visible=0)
    for folder, name in _folders():
        text = _replace_folder(text, folder, name)
    text = _NOTEBOOK.sub("(notebook)", _HOMES.sub("~", text))
    named = {**dict.fromkeys(_hosts(), "(host)"), **dict.fromkeys(_users(), "(user)")}
    for name, instead in sorted(named.items(), key=lambda item: -len(item[0])):
        text = re.sub(
            rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", instead, text, flags=re.IGNORECASE
        )
    return text


def _private_values() -> set[str]:
    """Values of this process that must not be seen, also as they are written in an address."""
    values = set(secret_values())
    for name, value in os.environ.items():
        if name.lower().endswith("_proxy") and name.lower() != "no_proxy":
            parts = urlsplit(value if "//" in value else f"//{value}")
            values |= {value, parts.netloc, parts.username or "", parts.password or "", parts.hostname or ""}
    with contextlib.suppress(OSError):
        values.add(hub_settings.token_file().read_text(encoding="utf-8", errors="replace").strip())
    forms = {form for value in values for form in (value, quote(value, safe=""), unquote(value))}
    return {form for form in forms if len(form) > _SHORTEST}


def _folders() -> Iterator[tuple[str, str]]:
    """Yield folders with what stands for them, the deepest first."""
    notebook = notebook_path()
    found = {str(Path.home()): "~"}
    for folder in (Path.cwd(), notebook.parent if notebook is not None else None):
        if folder is not None and len(folder.parts) > 1 and folder != Path.home():
            found[str(folder)] = "(notebook's folder)"
    return iter(sorted(found.items(), key=lambda item: len(item[0]), reverse=True))


def _replace_folder(text: str, folder: str, name: str) -> str:
    forms = {folder, quote(folder), folder.replace("\\", "/")}
    for form in forms:
        if form not in ("", "/"):
            text = re.sub(rf"{re.escape(form)}(?![A-Za-z0-9_-])", lambda _: name, text)
    return text


def _users() -> set[str]:
    """Return the user's names, as the environment, the system and the home folder have them."""
    found = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "JUPYTERHUB_USER")}
    with contextlib.suppress(OSError, KeyError, ImportError):
        found.add(getpass.getuser())
    found.add(Path.home().name)
    return {name for name in found if len(name) >= _SHORTEST and name.lower() not in _COMMON}


def _hosts() -> set[str]:
    whole = {platform.node(), os.environ.get("HOSTNAME", "")}
    found = whole | {name.partition(".")[0] for name in whole}
    return {name for name in found if len(name) >= _SHORTEST and name.lower() not in _COMMON}
