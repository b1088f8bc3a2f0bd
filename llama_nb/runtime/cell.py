"""Which notebook cell runs now, as a number; None outside of IPython. Does not import IPython."""

import sys


def number() -> int | None:
    """Return the execution count of the cell that runs, or None when no IPython shell exists."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return None if shell is None else int(shell.execution_count)
