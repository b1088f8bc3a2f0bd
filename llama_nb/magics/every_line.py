"""Every `%llama` line of a cell shows what it says, not only one that is the cell's last expression.

IPython shows the value of a cell's last expression alone, so `%llama load cria` with a line below would say
nothing of what was loaded. Knows IPython's syntax trees; nothing here knows the verbs.
"""

import ast
from collections.abc import Callable
from typing import Any, Final

from IPython.display import display

from llama_nb.magics.input_lines import NAME

# With these IPython shows the last expression; with "all" every one is shown already.
_LAST: Final = ("last_expr", "last_expr_or_assign")


def install(shell: Any) -> Callable[[], None]:
    """Show the values of all `%llama` lines in `shell`; return the function that ends it."""
    transformer = _EveryLine(shell)
    shell.ast_transformers.append(transformer)

    def uninstall() -> None:
        if transformer in shell.ast_transformers:
            shell.ast_transformers.remove(transformer)

    return uninstall


def show(value: Any) -> None:
    """Display what a line returned, if anything."""
    if value is not None:
        display(value)


class _EveryLine(ast.NodeTransformer):
    """Passes the values of `%llama` lines above a cell's last statement to `show`."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell

    def visit_Module(self, node: ast.Module) -> ast.Module:
        if self._shell.ast_node_interactivity in _LAST:
            for statement in node.body[:-1]:
                if isinstance(statement, ast.Expr) and _is_ours(statement.value):
                    statement.value = _shown(statement.value)
        return node


def _is_ours(value: ast.expr) -> bool:
    """Whether this is `get_ipython().run_line_magic("llama", ...)`, as IPython writes a `%llama` line."""
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and value.func.attr == "run_line_magic"
        and bool(value.args)
        and isinstance(value.args[0], ast.Constant)
        and value.args[0].value == NAME
    )


def _shown(value: ast.expr) -> ast.expr:
    function = ast.parse(f"__import__({__name__!r}, fromlist=['show']).show", mode="eval").body
    return ast.copy_location(ast.Call(function, [value], []), value)
