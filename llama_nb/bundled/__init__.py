"""The models that travel with the package: where their folders are, and under which licence.

Knows names, paths and model cards only; loading is the business of llama_nb.loading.
"""

import re
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def names() -> tuple[str, ...]:
    """Return the names of the bundled models, sorted."""
    return tuple(sorted(path.parent.name for path in _HERE.glob("*/config.json")))


def folder(name: str) -> Path:
    """Return the folder of a bundled model, in Hugging Face layout.

    Raises
    ------
    KeyError
        Where no model of that name is bundled; the message lists the names that are.
    """
    if name not in names():
        raise KeyError(f"no bundled model is named {name!r}; bundled: {', '.join(names()) or 'none'}")
    return _HERE / name


def licence(name: str) -> str:
    """Return the licence that the model card of a bundled model names: "apache-2.0"."""
    card = (folder(name) / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^license: (\S+)$", card, re.MULTILINE)
    return found[1] if found else "unknown"
