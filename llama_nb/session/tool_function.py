"""A user's function as a tool: what the model is told of it, and how a call's arguments are checked.

The description is made of the signature's type hints and the docstring; pydantic, imported when the first
function comes, makes its schema and checks arguments against it. What cannot be described is refused by name.
"""

import functools
import inspect
import json
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, overload

from llama_nb.core.errors import ToolError

F = TypeVar("F", bound=Callable[..., Any])

_SAFE: Final = "_llama_nb_safe_tool"
_HINT: Final = 'A tool looks like this: def weather(city: str) -> dict: "Get the weather in a city."'
_LONGEST_TEXT: Final = 1_000  # characters of a description
# Sections of a docstring that describe parameters, as Google and NumPy write them; any other one ends them.
_SECTION: Final = re.compile(r"^(Args|Arguments|Parameters|Params):?\s*$")
_OTHER: Final = re.compile(r"^[A-Z][A-Za-z ]{2,20}:?\s*$")
_GOOGLE: Final = re.compile(r"^\s+\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_SPHINX: Final = re.compile(r"^\s*:param\s+(?:[\w.\[\], |]+\s+)?(\w+)\s*:\s*(.*)$")


@dataclass(frozen=True)
class Tool:
    """A function that a model may ask for.

    Attributes
    ----------
    name
        What the model calls it.
    function
        The function itself.
    description
        What the model is told: JSON values, in the form that chat templates read.
    safe
        Whether its writer said that it may run without being asked for (`llama_nb.tool(safe=True)`).
    read
        Checks arguments (JSON values) and returns them as the function wants them; raises ToolError with a
        sentence for the model.
    """

    name: str
    function: Callable[..., Any]
    description: Mapping[str, Any]
    safe: bool
    read: Callable[[Mapping[str, Any]], dict[str, Any]]


@overload
def tool(function: F) -> F: ...
@overload
def tool(*, safe: bool = False) -> Callable[[F], F]: ...
def tool(function: F | None = None, *, safe: bool = False) -> F | Callable[[F], F]:
    """Check that a function can be a tool, and say whether it is safe; returns the function itself.

    Not needed: any function with type hints can be given to `Model.tools`. As a decorator it finds what is
    missing where the function is written.

    Parameters
    ----------
    safe
        The function changes nothing, costs nothing and tells nothing that a stranger should not know: with
        `auto=True` (`%%llama tools --auto`) its calls run without being asked for.

    Raises
    ------
    ToolError
        If the function cannot be described to a model; it says which parameter lacks what.
    """
    if function is None:
        return functools.partial(tool, safe=safe)
    read_tool(function)
    if safe:
        setattr(function, _SAFE, True)
    return function


def read_tools(given: Any) -> dict[str, Tool]:
    """Return tools by name, of one function or several.

    Raises
    ------
    ToolError
        If there is none, two have the same name, or one cannot be described.
    """
    if callable(given):
        given = [given]
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise ToolError(f"The tools are a {type(given).__name__}, not a list of functions.", _HINT)
    found: dict[str, Tool] = {}
    for function in given:
        made = read_tool(function)
        if made.name in found:
            raise ToolError(f"Two tools are called {made.name!r}.", "Give one of them another name.")
        found[made.name] = made
    if not found:
        raise ToolError("There are no tools.", 'Give functions: m.tools("...", [weather, clock])')
    return found


def read_tool(function: Any) -> Tool:
    """Return `function` as a tool."""
    name = getattr(function, "__name__", None)
    if not callable(function) or isinstance(function, type) or not isinstance(name, str):
        what = "class" if isinstance(function, type) else type(function).__name__
        raise ToolError(f"{_named(function)} is a {what}, not a function.", _HINT)
    if not name.isidentifier() or not name.isascii():
        raise ToolError(f"{name!r} is no name that a model can call.", "Define it with def and a name.")
    signature, hints = _signature(function, name)
    told, texts = read_docstring(inspect.getdoc(function) or "")
    for parameter in signature.parameters.values():
        _check_parameter(name, parameter, hints)
    model = _arguments_model(name, signature, hints, texts)
    properties, required, definitions = _schema(name, model, signature)
    parameters: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
    if definitions:
        parameters["$defs"] = definitions
    described = {
        "type": "function",
        "function": {"name": name, "description": told or name, "parameters": parameters},
    }
    keys = dict(zip(model.model_fields, signature.parameters, strict=True))
    return Tool(
        name,
        function,
        described,
        getattr(function, _SAFE, False),
        functools.partial(_read, name, model, keys),
    )


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return what a docstring says of the function, and of each parameter (Google, NumPy or Sphinx style)."""
    lines = text.expandtabs().splitlines()
    texts: dict[str, list[str]] = {}
    summary: list[str] = []
    inside, current, described = False, None, True
    for number, line in enumerate(lines):
        sphinx = _SPHINX.match(line)
        underline = lines[number + 1].strip() if number + 1 < len(lines) else ""
        if sphinx:
            described, current = False, sphinx[1]
            texts[current] = [sphinx[2]]
        elif _SECTION.match(line) or (
            _OTHER.match(line) and (line.rstrip().endswith(":") or _rule(underline))
        ):
            described, current, inside = False, None, bool(_SECTION.match(line))
        elif described:
            summary.append(line)
        elif inside and not _rule(line.strip()):
            current = _parameter_line(line, texts, current)
    joined = {name: _short(" ".join(" ".join(said).split())) for name, said in texts.items()}
    first = "\n".join(summary).strip().split("\n\n")[0]
    return _short(" ".join(first.split())), {name: said for name, said in joined.items() if said}


def _parameter_line(line: str, texts: dict[str, list[str]], current: str | None) -> str | None:
    """Take one line of a section of parameters; return whose description goes on."""
    google = _GOOGLE.match(line)
    if google and google[2]:
        texts[google[1]] = [google[2]]
        return google[1]
    numpy = re.match(r"^\*{0,2}(\w+)\s*(?::.*)?$", line)
    if numpy:
        texts[numpy[1]] = []
        return numpy[1]
    if current is not None and line.strip():
        texts[current].append(line.strip())
    return current


def _rule(line: str) -> bool:
    return len(line) > 2 and set(line) <= {"-", "="}


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}\u2026"


def _named(value: Any) -> str:
    return str(getattr(value, "__name__", None) or f"{value!r:.40}")


def _signature(function: Any, name: str) -> tuple[inspect.Signature, dict[str, Any]]:
    try:
        signature = inspect.signature(function)
        hints = typing.get_type_hints(inspect.unwrap(function), include_extras=True)
    except NameError as error:
        raise ToolError(f"{name}: a type hint cannot be read: {error}.", _HINT) from None
    except (TypeError, ValueError):
        raise ToolError(
            f"{name} has no signature that can be read.", f"Wrap it in a function. {_HINT}"
        ) from None
    return signature, hints


def _check_parameter(name: str, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> None:
    kinds = {
        parameter.VAR_POSITIONAL: f"takes any number of arguments (*{parameter.name})",
        parameter.VAR_KEYWORD: f"takes any arguments (**{parameter.name})",
        parameter.POSITIONAL_ONLY: f"takes {parameter.name} by position only",
    }
    if parameter.kind in kinds:
        raise ToolError(f"{name} {kinds[parameter.kind]}.", "A model calls with arguments by name. Wrap it.")
    if parameter.name not in hints:
        raise ToolError(
            f"{name}: its parameter {parameter.name!r} has no type hint.",
            f"Say what it takes: def {name}({parameter.name}: str).",
        )


def _arguments_model(
    name: str, signature: inspect.Signature, hints: Mapping[str, Any], texts: Mapping[str, str]
) -> Any:
    """Return a pydantic model of the arguments, its fields numbered: any name can be a parameter's."""
    import pydantic

    fields: dict[str, Any] = {}
    for number, parameter in enumerate(signature.parameters.values()):
        default = ... if parameter.default is parameter.empty else parameter.default
        options: dict[str, Any] = {"alias": parameter.name}
        if texts.get(parameter.name):
            options["description"] = texts[parameter.name]
        fields[f"argument_{number}"] = (hints[parameter.name], pydantic.Field(default, **options))
    try:
        return pydantic.create_model(name, __config__=pydantic.ConfigDict(extra="forbid"), **fields)
    except (pydantic.errors.PydanticUserError, TypeError, ValueError, NameError, RecursionError) as error:
        raise _undescribed(name, error) from error


def _schema(
    name: str, model: Any, signature: inspect.Signature
) -> tuple[dict[str, Any], list[str], dict[str, Any]]:
    import pydantic

    try:
        schema = _without_titles(model.model_json_schema())
        json.dumps(schema, allow_nan=False)
    except (pydantic.errors.PydanticUserError, TypeError, ValueError, RecursionError) as error:
        raise _undescribed(name, error) from error
    properties = {
        key: {part: told[part] for part in ("type", *told) if part in told}
        for key, told in schema.get("properties", {}).items()
    }
    given = signature.parameters.values()
    required = [parameter.name for parameter in given if parameter.default is parameter.empty]
    return properties, required, schema.get("$defs", {})


def _undescribed(name: str, error: Exception) -> ToolError:
    told = str(error).strip().split("\n", 1)[0].rstrip(".")
    return ToolError(
        f"{name} cannot be described to a model: {told}.",
        "Its parameters can be str, int, float, bool, lists and dicts of them, Literal, enums, dataclasses "
        "and pydantic models.",
    )


def _without_titles(node: Any) -> Any:
    """Leave out the titles, which pydantic makes of the names."""
    if isinstance(node, list):
        return [_without_titles(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: _without_titles(part) for name, part in value.items()}
        if key in ("properties", "$defs")
        else value
        if key in ("const", "enum", "default", "examples")
        else _without_titles(value)
        for key, value in node.items()
        if key != "title"
    }


def _read(name: str, model: Any, keys: Mapping[str, str], arguments: Mapping[str, Any]) -> dict[str, Any]:
    import pydantic

    try:
        read = model.model_validate_json(json.dumps(arguments))
    except pydantic.ValidationError as error:
        raise ToolError(f"{name} was not called: {_problems(error)}.") from None
    return {
        keys[field]: getattr(read, field) for field in model.model_fields if field in read.model_fields_set
    }


def _problems(error: Any) -> str:
    found = [
        f"{'.'.join(map(str, problem['loc']))[:80] or 'the arguments'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False, include_context=False)[:3]
    ]
    return "; ".join(found)[:400].rstrip(".")
