"""Keys and passwords must not be seen: a text is redacted before it is printed, raised or stored.

Knows the shapes of common keys and the values of this process's secret variables. Keeps no secret itself.
"""

import os
import re
from typing import Final

_SHAPES: Final = re.compile(
    r"""
      \bhf_[A-Za-z0-9]{8,}                                    # Hugging Face
    | \bsk-[A-Za-z0-9_-]{12,}                                 # OpenAI style
    | \bgsk_[A-Za-z0-9]{12,}                                  # Groq
    | \br8_[A-Za-z0-9]{12,}                                   # Replicate
    | \bfw_[A-Za-z0-9]{12,}                                   # Fireworks
    | \bgh[pousr]_[A-Za-z0-9]{20,}                            # GitHub
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b                           # AWS key id
    | (?<=[Bb]earer\ )[A-Za-z0-9._~+/=-]{8,}                  # Authorization header
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)                         # user:password@host
    """,
    re.VERBOSE,
)
_SECRET_NAME: Final = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|API_?KEY|ACCESS_KEY|PRIVATE_KEY|_PAT)$",
    re.IGNORECASE,
)
_SHORTEST: Final = 8  # shorter values of such variables are words like "none", not keys


def redact(text: str, visible: int = 3) -> str:
    """Return `text` with everything that looks like a key, or is one of this process's, made unreadable.

    The first `visible` characters of a key stay, so that its owner knows which one it was.
    """
    for value in secret_values():
        text = text.replace(value, _mask(value, visible))
    return _SHAPES.sub(lambda match: _mask(match.group(), visible), text)


def secret_values() -> list[str]:
    """Return the values of this process's variables whose names say that they are keys or passwords."""
    return [
        value for name, value in os.environ.items() if len(value) >= _SHORTEST and _SECRET_NAME.search(name)
    ]


def _mask(secret: str, visible: int) -> str:
    return f"{secret[:visible]}***"
