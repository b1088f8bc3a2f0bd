"""Reply records for tests, as `Reply.to_record` gives them."""

from typing import Any


def record(**changes: Any) -> dict[str, Any]:
    """Return a record of a short reply with some values changed."""
    return {
        "schema": 1,
        "id": "0123456789ab",
        "parent": None,
        "chat": "main",
        "kind": "chat",
        "system": None,
        "user": "What is a **token**?",
        "text": "A piece of *text*.",
        "tokens": [[5, "A", -0.5, 1.25], [6, " piece", -0.012345678, 0.5]],
        "sampling": {"temperature": 0.6, "top_k": 0, "stop": [], "seed": None},
        "seed": 7,
        "model": {"name": "cria", "fingerprint": "00ff"},
        "usage": {"prompt": 12, "cached": 120, "completion": 37, "first_token_s": 0.08, "total_s": 0.878},
        "finish": "end",
        "detail": "",
        "notes": [],
        **changes,
    }
