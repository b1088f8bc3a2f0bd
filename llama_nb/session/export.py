"""A chat as a document: Markdown, JSON, a notebook, a conversation for other programs, rows to train on.

What a model or a file said goes through as data; nothing of it is run or taken for markup here.
"""

import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from llama_nb.core.errors import ChatStoreError, MessageError, did_you_mean
from llama_nb.core.messages import Message
from llama_nb.render import reply as rendered
from llama_nb.runtime.environment import detect

if TYPE_CHECKING:
    from llama_nb.session.chat import Chat, Node

Format = Literal["markdown", "json", "messages", "notebook", "rows"]
Branches = Literal["path", "all"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
SUFFIXES: Final[Mapping[str, Format]] = {
    ".md": "markdown",
    ".json": "json",
    ".ipynb": "notebook",
    ".jsonl": "rows",
}
SCHEMA: Final = 1
_SOMEBODY: Final = "The assistant"  # who wrote what no record tells of
# An answer that ended so is cut off: a model would learn to stop in the middle.
_CUT_OFF: Final = ("stopped", "length", "context", "error")
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*")  # of a model, as it can stand on a line
_FENCE: Final = re.compile(r"^ *(`{3,})", re.MULTILINE)


def export(chat: "Chat", form: Format, branches: Branches) -> str:
    """Return a chat as a text; see `Chat.export`."""
    write = _WRITERS[check_format(form)]
    return write(chat, check_branches(branches))


def save(
    chat: "Chat",
    path: str | Path,
    form: Format | None,
    branches: Branches,
    *,
    overwrite: bool,
) -> Path:
    """Write a chat into a file; see `Chat.save`."""
    file = Path(path).expanduser()
    form = SUFFIXES.get(file.suffix.lower()) if form is None else check_format(form)
    if form is None:
        known = ", ".join(f"{suffix} ({name})" for suffix, name in SUFFIXES.items())
        raise MessageError(f"{file.name!r} says no format by its end.", f"Ends: {known}; or name the format.")
    text = export(chat, form, branches).encode("utf-8", "replace")
    try:
        _write(file, text, overwrite=overwrite)
    except FileExistsError:
        raise ChatStoreError(
            f"{file.name} is there already; nothing was written.",
            "Take another name, or replace it with --overwrite (in Python overwrite=True).",
        ) from None
    except OSError as error:
        raise ChatStoreError(f"{file.name} cannot be written: {error.strerror}.") from None
    return file


def to_rows(chat: "Chat", branches: Branches) -> list[dict[str, Any]]:
    """Return conversations to train on; see `Chat.to_rows`."""
    found = [_whole(nodes) for nodes in _conversations(chat, check_branches(branches))]
    rows = []
    for place, nodes in enumerate(found):
        # What another one begins with is in that one.
        if nodes and nodes not in found[:place] and not any(_is_inside(nodes, other) for other in found):
            rows.append({"messages": _openai(_messages(chat, nodes))})
    return rows


def check_format(name: object) -> Format:
    """Return `name` if it is a format, else raise MessageError."""
    if name not in FORMATS:
        raise MessageError(
            f"There is no format {name!r}.",
            did_you_mean(str(name), FORMATS) or f"One of: {', '.join(FORMATS)}.",
        )
    return name


def check_branches(which: str) -> Branches:
    """Return `which` if it says which branches, else raise MessageError."""
    if which not in get_args(Branches):
        raise MessageError(f"branches is {which!r}.", 'It is "path" (the conversation) or "all".')
    return which  # type: ignore[return-value]


# --- what is written -------------------------------------------------------------------------------


def _markdown(chat: "Chat", branches: Branches) -> str:
    conversations = _conversations(chat, branches)
    parts = [f"# Chat {chat.name}"]
    for number, nodes in enumerate(conversations, start=1):
        if len(conversations) > 1:
            parts.append(f"# Branch {number} of {len(conversations)}")
        system = _system(chat, nodes)
        if system:
            parts.append("\n".join(f"> {line}".rstrip() for line in ["System prompt:", *system.splitlines()]))
        parts += [part for node in nodes for part in _section(node)]
    return "\n\n".join(parts) + "\n"


def _section(node: "Node") -> Iterator[str]:
    message = node.message
    if message.role == "assistant":
        yield f"## {_writer(node)}"
    else:
        yield "## You" if message.role == "user" else "## Result of a function"
    if message.content:
        yield _fenced(message.content) if message.role == "tool" else message.content.strip("\n")
    for call in message.tool_calls:
        yield _fenced(json.dumps({"name": call.name, "arguments": dict(call.arguments)}, ensure_ascii=False))
    finish = _record(node).get("finish")
    if finish in _CUT_OFF:
        yield f"*({finish})*"


def _json(chat: "Chat", branches: Branches) -> str:
    nodes = chat.path() if branches == "path" else tuple(chat.nodes.values())
    record = {
        "schema": SCHEMA,
        "chat": chat.name,
        "system": chat.system,
        "head": chat.head,
        "messages": [
            {"id": node.id, "parent": node.parent, **node.message.to_dict(), "system": node.system}
            | ({"reply": node.reply} if node.reply else {})
            for node in nodes
        ],
    }
    return json.dumps(record, ensure_ascii=False, indent=1, default=str) + "\n"


def _messages_text(chat: "Chat", branches: Branches) -> str:
    many = [_openai(_messages(chat, nodes)) for nodes in _conversations(chat, branches)]
    found: Any = many if branches == "all" else many[0] if many else []
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def _rows(chat: "Chat", branches: Branches) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in to_rows(chat, branches))


def _notebook(chat: "Chat", branches: Branches) -> str:
    name = re.sub(r"[^\w .-]", "_", chat.name)
    option = "" if name == "main" else f' --chat "{name}"'
    writers = [_writer(node) for node in chat.path() if node.message.role == "assistant"]
    model = next((writer for writer in reversed(writers) if _NAME.fullmatch(writer)), "cria")
    cells = [_cell("head", f"%load_ext llama_nb\n%llama load {model}")]
    for number, nodes in enumerate(_conversations(chat, branches)):
        system: str | None = None
        for node in nodes:
            key = f"{node.id}-{number}"
            if node.message.role == "user":
                if node.system != system:
                    system = node.system
                    words = f"import llama_nb\nllama_nb.current().chats.open({name!r}).system = {system!r}"
                    cells.append(_cell(f"{key}-system", words))
                raw = " --raw" if "{{" in node.message.content else ""
                cells.append(_cell(key, f"%%llama chat{option}{raw}\n{node.message.content}"))
            elif node.message.role == "assistant":
                cells[-1]["outputs"].append(_output(chat, node))
    notebook = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, ensure_ascii=False, indent=1, default=str) + "\n"


def _cell(key: str, source: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": re.sub(r"[^A-Za-z0-9_-]", "-", key)[:64],
        "metadata": {},
        "outputs": [],
        "source": source,
    }


def _output(chat: "Chat", node: "Node") -> dict[str, Any]:
    """Return an answer as it is saved in a notebook: text, a static twin, its record."""
    asked = chat.nodes[node.parent].message if node.parent is not None else None
    plain = {
        "schema": 1,
        "id": node.id,
        "kind": "chat",
        "chat": chat.name,
        "user": asked.content if asked and asked.role == "user" else None,
        "text": node.message.content,
        "finish": "end",
        "calls": [{"name": call.name, "arguments": dict(call.arguments)} for call in node.message.tool_calls],
    }
    watched = detect().watched
    try:
        data = rendered.bundle({**plain, **_record(node)}, watched=watched)
    except (TypeError, ValueError, AttributeError):  # a record out of a file may hold anything
        data = rendered.bundle(plain, watched=watched)
    return {"output_type": "display_data", "data": data, "metadata": {}}


_WRITERS: Final[Mapping[Format, Callable[["Chat", Branches], str]]] = {
    "markdown": _markdown,
    "json": _json,
    "messages": _messages_text,
    "notebook": _notebook,
    "rows": _rows,
}

# --- what it is made from --------------------------------------------------------------------------


def _conversations(chat: "Chat", branches: Branches) -> list[tuple["Node", ...]]:
    """Return the conversation, or those of all branches, the chat's own one last."""
    path = chat.path()
    if branches == "path":
        return [path] if path else []
    ends = [node for node in chat.nodes.values() if not chat.children(node.id)]
    others = [chat.path(node.id) for node in ends if node.message.role != "user" and node.id != chat.head]
    # A conversation that goes no further than another one is in that one.
    inside = any(_is_inside(path, other) for other in others)
    return [*others, *([] if inside or not path else [path])]


def _is_inside(nodes: Sequence["Node"], other: Sequence["Node"]) -> bool:
    """Whether a conversation is the beginning of another one."""
    return len(nodes) < len(other) and nodes[-1:] == other[len(nodes) - 1 : len(nodes)]


def _whole(nodes: Sequence["Node"]) -> Sequence["Node"]:
    """Return the conversation up to the last answer that came to its end, before the first that did not."""
    end = 0
    for place, node in enumerate(nodes, start=1):
        if node.message.role == "assistant":
            if _record(node).get("finish") in _CUT_OFF:
                break
            end = end if node.message.tool_calls else place
    return nodes[:end]


def _messages(chat: "Chat", nodes: Sequence["Node"]) -> list[Message]:
    system = _system(chat, nodes)
    return [*([Message("system", system)] if system else []), *(node.message for node in nodes)]


def _openai(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages as OpenAI's interfaces and trainers take them: calls have ids, arguments are text."""
    found: list[dict[str, Any]] = []
    calls = 0
    for message in messages:
        plain: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            plain["tool_calls"] = []
            for call in message.tool_calls:
                calls += 1
                function = {"name": call.name, "arguments": json.dumps(dict(call.arguments), default=str)}
                plain["tool_calls"].append({"id": f"call_{calls}", "type": "function", "function": function})
        elif message.role == "tool":
            plain["tool_call_id"] = f"call_{calls}"
        found.append(plain)
    return found


def _system(chat: "Chat", nodes: Sequence["Node"]) -> str | None:
    """Return the system prompt that was in force at the end of a conversation."""
    if nodes == chat.path():
        return chat.system
    asked = [node for node in nodes if node.message.role == "user"]
    return asked[-1].system if asked else None


def _record(node: "Node") -> Mapping[str, Any]:
    return node.reply if isinstance(node.reply, Mapping) else {}


def _writer(node: "Node") -> str:
    model = _record(node).get("model")
    return rendered.model_name({"model": model}) if isinstance(model, Mapping) else _SOMEBODY


def _fenced(text: str) -> str:
    """Return `text` as a block of code that nothing in it ends."""
    longest = max((len(fence) for fence in _FENCE.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{text.strip()}\n{fence}"


def _write(file: Path, content: bytes, *, overwrite: bool) -> None:
    """Write a file as a whole: who reads it meanwhile sees the old one or the new one."""
    if not overwrite and os.path.lexists(file):
        raise FileExistsError(str(file))
    part = file.with_name(f".{file.name[:100]}-{secrets.token_hex(4)}")
    try:
        with part.open("xb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
