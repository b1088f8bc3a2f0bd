"""What this user's environment says about the Hugging Face hub: cache folder, address, token, network or not.

Follows huggingface_hub's variables (https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables)
without importing it. Knows where a token comes from and never what it is.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# In huggingface_hub's order: the first that is set wins, and both win over the file.
TOKEN_VARIABLES: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_OFFLINE: Final = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_TRUE: Final = ("1", "ON", "YES", "TRUE")


def home_folder() -> Path:
    """Return the folder of everything that Hugging Face's libraries keep (HF_HOME)."""
    return _first(("HF_HOME",)) or (_first(("XDG_CACHE_HOME",)) or Path.home() / ".cache") / "huggingface"


def cache_folder() -> Path:
    """Return where huggingface_hub keeps its files."""
    return _first(("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")) or home_folder() / "hub"


def token_file() -> Path:
    """Return where a log-in is kept; the file need not exist."""
    return _first(("HF_TOKEN_PATH",)) or home_folder() / "token"


def token_source() -> str | None:
    """Return where the log-in comes from: a variable's name, "file", or None without a log-in."""
    variable = next((name for name in TOKEN_VARIABLES if os.environ.get(name)), None)
    if variable is not None and os.environ[variable].strip():
        return variable
    try:
        return "file" if token_file().read_text(encoding="utf-8", errors="replace").strip() else None
    except OSError:
        return None


def offline() -> bool:
    """Whether the user's environment forbids the network."""
    return any(os.environ.get(name, "").upper() in _TRUE for name in _OFFLINE)


def endpoint() -> str:
    """Return the hub's address; a mirror (HF_ENDPOINT) that was set in this session counts too."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _first(variables: Sequence[str]) -> Path | None:
    """Return the folder that the first of these variables names, if any is set."""
    for name in variables:
        if value := os.environ.get(name):
            return Path(os.path.expandvars(value)).expanduser()
    return None
