"""Code as nodes: texts and spans with a class of a closed list, lexed by Pygments piece by piece.

A piece ends at a line, so that while a long block streams only its last piece is lexed again. A string that
goes over the end of a piece (2 to 6 thousand characters) may be coloured wrongly; nothing else depends on it.
"""

from functools import cache
from typing import Any, Final

from llama_nb.render.nodes import Node, element

# What is lexed of one block; the rest is shown plain. It bounds the spans of a block.
_LEXED: Final = 16_000
_PIECE: Final = (2_000, 6_000)
# Patterns of lexers may be quadratic in the length of a line (measured in tests/render/test_highlight.py).
_LONGEST_LINE: Final = 1_000

# Lexers are chosen from this list only: their patterns run on hostile text.
_LANGUAGES: Final = {
    "python": "python py python3 py3 ipython ipython3",
    "pycon": "pycon python-console",
    "bash": "bash sh shell zsh",
    "console": "console shell-session",
    "json": "json jsonc json5 jsonl",
    "yaml": "yaml yml",
    "toml": "toml",
    "ini": "ini cfg dosini",
    "html": "html htm",
    "xml": "xml",
    "css": "css",
    "javascript": "javascript js jsx node mjs",
    "typescript": "typescript ts tsx",
    "sql": "sql sqlite mysql postgresql",
    "c": "c h",
    "cpp": "cpp c++ cxx hpp cuda cu",
    "csharp": "csharp c# cs",
    "java": "java",
    "kotlin": "kotlin kt",
    "swift": "swift",
    "scala": "scala",
    "go": "go golang",
    "rust": "rust rs",
    "ruby": "ruby rb",
    "php": "php",
    "perl": "perl pl",
    "lua": "lua",
    "r": "r rscript",
    "julia": "julia jl",
    "haskell": "haskell hs",
    "matlab": "matlab octave",
    "diff": "diff patch udiff",
    "docker": "dockerfile docker",
    "make": "make makefile mk",
    "latex": "latex tex",
    "powershell": "powershell ps1 pwsh",
}
_NAMES: Final = {alias: name for name, aliases in _LANGUAGES.items() for alias in aliases.split()}


def highlight(code: str, info: str, pieces: dict[str, list[Node]] | None = None) -> list[Node]:
    """Return `code` as nodes, coloured for the language that `info` (a fence's info string) names.

    Parameters
    ----------
    pieces
        Keeps the pieces that are complete, for the next call with a longer `code` of the same block.
    """
    words = info.split(maxsplit=1)
    language = _NAMES.get(words[0].strip("{}.,:").lower(), "") if words else ""
    if not language:
        return [code] if code else []
    pieces = {} if pieces is None else pieces
    nodes: list[Node] = []
    start = 0
    while start < min(len(code), _LEXED):
        end = _piece_end(code, start)
        piece = code[start:end]
        key = f"{language}\n{piece}"
        known = pieces.get(key)
        if known is None:
            known = _lex(piece, language)
            if end < len(code):
                pieces[key] = known
        nodes += known
        start = end
    if start < len(code):
        nodes.append(code[start:])
    return _joined(nodes)


def _piece_end(code: str, start: int) -> int:
    """Return where the piece from `start` ends: at a blank line when one comes in time."""
    least, most = start + _PIECE[0], start + _PIECE[1]
    if len(code) <= least:
        return len(code)
    blank = code.find("\n\n", least, most)
    if blank >= 0:
        return blank + 2
    if len(code) <= most:
        return len(code)
    line = code.rfind("\n", least, most)
    return line + 1 if line >= 0 else most


def _lex(piece: str, language: str) -> list[Node]:
    if any(len(line) > _LONGEST_LINE for line in piece.split("\n")):
        return [piece]
    nodes: list[Node] = []
    for _, kind, text in _lexer(language).get_tokens_unprocessed(piece):
        name = _class_of(kind)
        previous = nodes[-1] if nodes else None
        if not name or not text.strip():
            nodes.append(text)
        elif isinstance(previous, dict) and previous["a"]["class"] == name:
            previous["c"] = [str(previous["c"][0]) + text]
        else:
            nodes.append(element("span", text, **{"class": name}))
    return _joined(nodes)


def _joined(nodes: list[Node]) -> list[Node]:
    """Join neighbouring texts."""
    joined: list[Node] = []
    for node in nodes:
        if isinstance(node, str) and joined and isinstance(joined[-1], str):
            joined[-1] += node
        elif node:
            joined.append(node)
    return joined


@cache
def _lexer(language: str) -> Any:
    from pygments.lexers import get_lexer_by_name

    return get_lexer_by_name(language, stripnl=False, ensurenl=False)


@cache
def _class_of(kind: Any) -> str:
    """Return the class for a Pygments token type: that of its nearest ancestor in the list, or ""."""
    from pygments.token import Token

    names = {
        Token.Keyword: "k",
        Token.Operator.Word: "k",
        Token.Literal.String: "s",
        Token.Comment: "c",
        Token.Literal.Number: "m",
        Token.Name.Function: "nf",
        Token.Name.Class: "nc",
        Token.Name.Builtin: "nb",
        Token.Name.Decorator: "nd",
        Token.Name.Tag: "nt",
        Token.Name.Attribute: "na",
        Token.Generic.Deleted: "gd",
        Token.Generic.Inserted: "gi",
        Token.Generic.Heading: "gh",
        Token.Generic.Subheading: "gh",
        Token.Generic.Prompt: "gp",
    }
    for ancestor in reversed(kind.split()):
        if ancestor in names:
            return f"ln-{names[ancestor]}"
    return ""
