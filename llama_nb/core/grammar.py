"""What a reply must be, as one frozen value that any engine can read: a JSON schema, a pattern, or a list.

Whether an engine can hold its tokens to it is the engine's business.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

GrammarKind = Literal["json", "regex", "choice"]


@dataclass(frozen=True, slots=True)
class Grammar:
    """The texts that a reply may be.

    Parameters
    ----------
    kind
        What `text` is: "json" a JSON schema, "regex" a pattern that the whole reply matches, "choice" a JSON
        list of the texts that it can be.
    text
        The schema (as JSON, its properties in the order in which they are written), the pattern, or the list.
    name
        What messages call it: "Recipe".
    """

    kind: GrammarKind
    text: str
    name: str

    def __str__(self) -> str:
        return {"json": "schema", "regex": "pattern", "choice": "choice"}[self.kind] + f" {self.name}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values, the schema or the list itself in place of its text."""
        content = self.text if self.kind == "regex" else json.loads(self.text)
        return {"kind": self.kind, "name": self.name, self.kind: content}
