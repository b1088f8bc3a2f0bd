"""The cell's outputs: display, update under a display id, print. The only file here that talks to IPython.

A fake of this class stands in for the notebook in tests.
"""

import sys
import uuid
from typing import Any

from IPython.display import publish_display_data

Bundle = dict[str, Any]


class Output:
    """The outputs of the cell that runs, or of the cell that the calling thread's context belongs to."""

    def display(self, data: Bundle, display_id: str | None = None) -> None:
        """Add an output."""
        publish_display_data(data, transient={"display_id": display_id} if display_id else {})

    def update(self, data: Bundle, display_id: str) -> None:
        """Replace the output shown under `display_id`, in whichever cell it is."""
        publish_display_data(data, transient={"display_id": display_id}, update=True)

    def write(self, text: str) -> None:
        """Print without a line's end."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def new_id(self) -> str:
        """Return a display id that nobody uses."""
        return f"llama-nb-{uuid.uuid4().hex}"
