"""What a model wrote, read as calls of functions: the formats of the Llama families.

Llama 3.1 and cria write `{"name": ..., "parameters": {...}}`, behind `<|python_tag|>` where the system prompt
says so, or `<function=name>{...}</function>`; Llama 3.2 and 4 also `[name(key=value)]`
(https://www.llama.com/docs/model-cards-and-prompt-formats/). A reply is a call as a whole or not at all:
what stands in prose or in a code fence is text. Names and literals are read; nothing is looked up or run.
"""

import ast
import json
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from llama_nb.core.messages import ToolCall

# Control tokens behind which a reply is a call, not text: of Llama 3.1 and cria, and of Llama 4.
CALL_TAGS: Final = ("<|python_tag|>", "<|python_start|>")
LONGEST_CALL: Final = 20_000  # characters of a reply that is read as calls
MOST_CALLS: Final = 16  # in one reply
DEEPEST: Final = 32  # lists and objects inside of each other

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_FUNCTION: Final = re.compile(r"<function=([^>\n]{1,64})>(.*?)</function>", re.DOTALL)
_NAME_KEY: Final = re.compile(r'"(?:name|function)"\s*:')
_VALUES_KEY: Final = re.compile(r'"(?:parameters|arguments)"\s*:')
_KEYS: Final = frozenset({"name", "function", "parameters", "arguments", "type", "id"})


@dataclass(frozen=True, slots=True)
class WrittenCall:
    """One call as the model wrote it.

    `problem` says why it cannot be followed, in words for the model; `name` is empty if none could be read.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """A reply taken apart: the text before its calls (all of it if there are none), and the calls."""

    text: str
    calls: tuple[WrittenCall, ...] = ()


class _NoCallError(ValueError):
    """The text cannot be read as calls; the message says why."""


def read_calls(text: str, tag_at: int | None = None) -> Said:
    """Read a whole reply.

    Parameters
    ----------
    text
        What the model wrote, without control tokens.
    tag_at
        Where in `text` one of `CALL_TAGS` stood as a token (never as typed text): what follows is a call or a
        mistake. None without one: then only what looks like nothing but calls is read as such.
    """
    before, body = ("", text) if tag_at is None else (text[:tag_at], text[tag_at:])
    body = body.strip()
    if tag_at is None and not _begins_like_calls(body):
        return Said(text)
    try:
        if len(body) > LONGEST_CALL:
            raise _NoCallError(f"it has {len(body):,} characters, and at most {LONGEST_CALL:,} are read")
        calls = tuple(_calls(body, tagged=tag_at is not None))
    except _NoCallError as error:
        if tag_at is None and not _meant_as_call(body):
            return Said(text)
        calls = (WrittenCall("", {}, f"This is no call that can be read: {error}."),)
    return Said(before.strip(), calls)


def stored_calls(value: Any) -> tuple[ToolCall, ...] | None:
    """Return calls that were stored, checked like those that a model writes; None if they are damaged.

    They are data of a conversation that is over: nobody runs them again.
    """
    if not isinstance(value, list) or len(value) > MOST_CALLS:
        return None
    calls = []
    for item in value:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            return None
        try:
            call = _checked(item["name"], item.get("arguments"))
        except _NoCallError:
            return None
        if call.problem:
            return None
        calls.append(ToolCall(call.name, call.arguments))
    return tuple(calls)


def _begins_like_calls(body: str) -> bool:
    return body.startswith(("{", "[", "<function="))


def _meant_as_call(body: str) -> bool:
    """Whether an untagged text that is no call was meant as one, so that the model should hear of it."""
    if body.startswith("<function="):
        return True
    return body.startswith("{") and bool(_NAME_KEY.search(body[:200]) and _VALUES_KEY.search(body[:400]))


def _calls(body: str, *, tagged: bool) -> Iterable[WrittenCall]:
    if not body:
        raise _NoCallError("nothing follows the mark of a call")
    if body.startswith("<function="):
        calls = _function_calls(body)
    elif body.startswith("{") or re.match(r"\[\s*\{", body):
        calls = _json_calls(body)
    elif body.startswith("[") or tagged:
        calls = _python_calls(body)
    else:
        raise _NoCallError("it is text")
    if len(calls) > MOST_CALLS:
        raise _NoCallError(f"it holds {len(calls)} calls, and at most {MOST_CALLS} are read")
    return calls


# --- JSON -----------------------------------------------------------------------------------------------


def _json_calls(body: str) -> list[WrittenCall]:
    """Read `{...}`, several with `;` or new lines between them, or a list of them."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
    values: list[Any] = []
    at = 0
    while at < len(body):
        value, at = _decode(decoder, body, at)
        values += value if isinstance(value, list) else [value]
        rest = body[at:].lstrip(" \t\r\n;,")
        if rest and not rest.startswith(("{", "[")):
            raise _NoCallError(f"behind the call stands {rest[:40]!r}; write the call alone")
        at = len(body) - len(rest)
    if not values:
        raise _NoCallError("the list is empty")
    return [_from_json(value) for value in values]


def _decode(decoder: json.JSONDecoder, body: str, at: int) -> tuple[Any, int]:
    try:
        return decoder.raw_decode(body, at)
    except json.JSONDecodeError as error:
        raise _NoCallError(f"the JSON is broken at character {error.pos}: {error.msg}") from None
    except RecursionError:
        raise _NoCallError("the JSON is nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise _NoCallError(str(error).partition(";")[0].rstrip(".")) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _NoCallError(f"the key {twice[:40]!r} comes twice")
    return values


def _no_constant(name: str) -> Any:
    raise _NoCallError(f"{name} is no JSON value")


def _from_json(value: Any) -> WrittenCall:
    if not isinstance(value, dict) or not value.keys() <= _KEYS:
        raise _NoCallError('a call is {"name": "...", "parameters": {...}}')
    inner = value.get("function")
    if isinstance(inner, dict):
        return _from_json(inner)
    name = value.get("name", inner)
    given = [value[key] for key in ("parameters", "arguments") if key in value]
    if not isinstance(name, str) or len(given) > 1 or not (given or inner or "type" in value):
        raise _NoCallError('a call is {"name": "...", "parameters": {...}}')
    arguments = given[0] if given else {}
    if isinstance(arguments, str):  # JSON in a text, as servers send it
        decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
        arguments, end = _decode(decoder, arguments.strip() or "{}", 0)
        if end < len(str(given[0]).strip()):
            raise _NoCallError("the parameters are no JSON object")
    return _checked(name, {} if arguments is None else arguments)


def _function_calls(body: str) -> list[WrittenCall]:
    calls, at = [], 0
    for match in _FUNCTION.finditer(body):
        if body[at : match.start()].strip(" \t\r\n;,"):
            break
        decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
        given = match[2].strip() or "{}"
        arguments, end = _decode(decoder, given, 0)
        if end != len(given):
            raise _NoCallError("the parameters are no JSON object")
        calls.append(_checked(match[1], arguments))
        at = match.end()
    if not calls or body[at:].strip(" \t\r\n;,"):
        raise _NoCallError("a call is <function=name>{...}</function> and nothing else")
    return calls


# --- Python ---------------------------------------------------------------------------------------------


def _python_calls(body: str) -> list[WrittenCall]:
    """Read `[f(a=1), g(b="x")]`, or a call alone, without running any of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in the model's strings
            tree = ast.parse(body, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        told = error.msg if isinstance(error, SyntaxError) else "it is nested too deeply"
        raise _NoCallError(f"it is neither JSON nor a list of calls ({told})") from None
    nodes = tree.elts if isinstance(tree, ast.List) else [tree]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    if not calls or len(calls) != len(nodes):
        raise _NoCallError('a call is {"name": "...", "parameters": {...}}')
    return [_from_python(node) for node in calls]


def _from_python(node: ast.Call) -> WrittenCall:
    function = node.func
    # Llama 3.1 writes `brave_search.call(query="...")` for the tools that it knows from training.
    if isinstance(function, ast.Attribute) and function.attr == "call":
        function = function.value
    if not isinstance(function, ast.Name):
        raise _NoCallError("only a function's own name is called")
    if node.args or any(keyword.arg is None for keyword in node.keywords):
        return WrittenCall(function.id, {}, "Write every argument with its name: f(name=value).")
    if len({keyword.arg for keyword in node.keywords}) != len(node.keywords):
        return WrittenCall(function.id, {}, "An argument comes twice.")
    try:
        return _checked(function.id, {str(keyword.arg): _literal(keyword.value) for keyword in node.keywords})
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        told = f": {error}" if isinstance(error, _NoCallError) else ""
        return WrittenCall(function.id, {}, f"The arguments must be plain values{told}.")


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Dict) and len(node.keys) != len(
        {key.value for key in node.keys if isinstance(key, ast.Constant)}
    ):
        raise _NoCallError("a key comes twice or is no text")
    return ast.literal_eval(node)


# --- what both must be ----------------------------------------------------------------------------------


def _checked(name: str, arguments: Any) -> WrittenCall:
    if not _NAME.fullmatch(name):
        raise _NoCallError("the name is no function's name")
    if not isinstance(arguments, dict):
        return WrittenCall(name, {}, "The parameters must be a JSON object, with each argument by its name.")
    try:
        return WrittenCall(name, _plain(arguments, 0))
    except _NoCallError as error:
        return WrittenCall(name, {}, f"The arguments must be plain values: {error}.")


def _plain(value: Any, depth: int) -> Any:
    """Return `value` as JSON knows it, or raise where it is none."""
    if depth > DEEPEST:
        raise _NoCallError(f"they are nested more than {DEEPEST} deep")
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise _NoCallError("a text holds half of a character")
        return value
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise _NoCallError("the keys of an object are texts")
        return {_plain(key, depth): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise _NoCallError("a number is not finite")
    if value is None or isinstance(value, bool | int | float):
        return value
    raise _NoCallError(f"a {type(value).__name__} is no JSON value")
