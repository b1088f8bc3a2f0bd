"""A memory plan as a widget, for pages that cannot have our JupyterLab plugin (VS Code, Colab).

Elsewhere the plugin draws the same record without a widget. Knows the plan's record and its twins, not how
either is made.
"""

from typing import Any

from llama_nb.widgets.base import STATIC, Widget
from llama_nb.widgets.traits import Record


class PlanView(Widget):
    """A plan with its context to move; all figures are in the record, so it needs no kernel once it is drawn.

    Parameters
    ----------
    plan
        Something with `to_record()` and the twins of a value: `planner.plan.Plan`.
    """

    _esm = STATIC / "plan.js"
    _css = STATIC / "plan.css"

    record = Record("Bundle")

    def __init__(self, plan: Any) -> None:
        self._twins: dict[str, Any] = plan._repr_mimebundle_()
        super().__init__(record=plan.to_record())

    def text_twin(self) -> str:
        """Return the plan's text."""
        return str(self._twins["text/plain"])

    def html_twin(self) -> str:
        """Return the plan's static HTML."""
        return str(self._twins["text/html"])
