"""What explorers of traces share: they may follow a trace, and are changed from several threads.

Knows no trace. Messages come on the shell's or a subshell's thread; what they ask for is computed on others.
"""

import contextlib
import threading
from typing import Any

from llama_nb.core.errors import TraceError
from llama_nb.widgets.live_view import LiveWidget


class TraceExplorer(LiveWidget):
    """An explorer of a trace. Whoever sets several of its traits holds its `lock`."""

    def __init__(self, **traits: Any) -> None:
        self.lock = threading.RLock()
        super().__init__(**traits)

    def grow(self) -> None:
        """Follow the trace, to which something was added, or which is whole now."""

    def received(self, message: dict[str, Any]) -> None:
        """Take the page's messages; what names nothing that there is, is ignored."""
        with contextlib.suppress(TraceError):
            super().received(message)

    def notify_change(self, change: Any) -> None:
        """Send a change; never while another thread holds several back, or it would be lost."""
        with self.lock:
            super().notify_change(change)
