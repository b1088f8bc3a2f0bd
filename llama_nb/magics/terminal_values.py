"""In a terminal, a value that is on the screen already gets no empty `Out[n]:` of its own; Out keeps it.

A kernel asks a value before it sends anything; a terminal's display hook writes its prompt first.
"""

from collections.abc import Callable
from typing import Any


def install(shell: Any) -> Callable[[], None]:
    """Leave out such prompts in `shell`, if it is a terminal's; return the function that ends it."""
    if getattr(shell, "kernel", None) is not None or not hasattr(shell, "display_trap"):
        return lambda: None
    hook = shell.displayhook

    def shown(value: Any) -> None:
        if not _on_screen(value) or hook.quiet():
            hook(value)
            return
        value._ipython_display_()
        hook.check_for_underscore()
        hook.update_user_ns(value)
        hook.fill_exec_result(value)

    shell.display_trap.hook = shown

    def uninstall() -> None:
        if shell.display_trap.hook is shown:
            shell.display_trap.hook = hook

    return uninstall


def _on_screen(value: Any) -> bool:
    """Whether this is a Reply, ToolRun or Comparison whose live view stands above; see Reply.displayed."""
    ours = type(value).__module__.startswith("llama_nb.")
    return ours and callable(getattr(value, "_ipython_display_", None))
