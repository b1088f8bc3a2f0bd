"""What can be told of a JSON schema without a tokenizer: whether any value of it comes to an end.

A schema whose every value holds another of its kind would be written until the tokens run out.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

_MOST_VISITS: Final = 100_000


def can_end(schema: Any) -> bool:
    """Return whether some finite value fulfils `schema`, as far as its structure says."""
    found: dict[int, bool] = {}
    visits = 0

    def ends(node: Any) -> bool:
        nonlocal visits
        visits += 1
        if not isinstance(node, Mapping) or visits > _MOST_VISITS:
            return True
        known = found.get(id(node))
        if known is None:
            found[id(node)] = False  # while it is looked into: a value that needs itself has no end
            known = found[id(node)] = _ends(node, schema, ends)
            if not known:
                del found[id(node)]  # it may end where it is not part of itself
        return known

    try:
        return ends(schema)
    except RecursionError:
        return True


def _ends(node: Mapping[str, Any], root: Any, ends: Callable[[Any], bool]) -> bool:
    if "$ref" in node and not ends(_resolve(root, node["$ref"])):
        return False
    if any(not ends(part) for part in _list(node, "allOf")):
        return False
    for key in ("anyOf", "oneOf"):
        options = _list(node, key)
        if options and not any(ends(option) for option in options):
            return False
    kind = node.get("type")
    if kind == "object":
        properties = node.get("properties")
        needed = [properties.get(key) for key in _list(node, "required")] if properties else []
        return all(ends(part) for part in needed)
    if kind == "array":
        fewest = node.get("minItems", 0)
        parts = [*_list(node, "prefixItems"), node.get("items")][: fewest if isinstance(fewest, int) else 0]
        return all(ends(part) for part in parts)
    return True


def _resolve(root: Any, reference: Any) -> Any:
    """Return what a local `$ref` ("#/$defs/Step") points at; None if that is nothing."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found = root
    for step in reference.removeprefix("#").split("/")[1:]:
        if not isinstance(found, Mapping):
            return None
        found = found.get(step.replace("~1", "/").replace("~0", "~"))
    return found


def _list(node: Mapping[str, Any], key: str) -> list[Any]:
    value = node.get(key)
    return value if isinstance(value, list) else []
