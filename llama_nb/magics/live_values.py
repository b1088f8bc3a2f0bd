"""Values that have a live view: which widget stands for them where somebody watches a page.

A value knows only its text and static HTML; IPython is told here, by the type's name, what to show instead.
The widgets are imported when such a value is shown.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from llama_nb.runtime.environment import detect


def _plan(plan: Any) -> Any:
    if detect().kind not in ("vscode", "colab"):
        return None  # JupyterLab and Notebook draw the plan's record, with our plugin
    from llama_nb.widgets.plan_view import PlanView

    return PlanView(plan)


def _status(status: Any) -> Any:
    from llama_nb.widgets.status_bars import StatusBars

    return StatusBars(status)


def _comparison(comparison: Any) -> Any:
    from llama_nb.widgets.compare_view import CompareView

    return CompareView(comparison)


def _anatomy(anatomy: Any) -> Any:
    from llama_nb.widgets.anatomy_view import show

    return show(anatomy)


def _attention(trace: Any) -> Any:
    return _attention_view(trace.view())


def _attention_view(view: Any) -> Any:
    from llama_nb.widgets import attention_explorer

    return attention_explorer.explorer(view)


def _routing(trace: Any) -> Any:
    return _routing_view(trace.view())


def _routing_view(view: Any) -> Any:
    from llama_nb.widgets import routing_explorer

    return routing_explorer.explorer(view)


def _lens(trace: Any) -> Any:
    from llama_nb.widgets import live_view
    from llama_nb.widgets.lens_view import LensView

    return live_view.begin(LensView(trace))


def _run(run: Any) -> Any:
    from llama_nb.session.training_view import TrainingView
    from llama_nb.widgets import live_view
    from llama_nb.widgets.training_panel import TrainingPanel

    return live_view.begin(TrainingPanel(TrainingView(run)))


# The type's full name, and what makes its widget: None where the value's own bundle is shown.
_VIEWS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "llama_nb.planner.plan.Plan": _plan,
    "llama_nb.magics.status_report.StatusReport": _status,
    "llama_nb.session.comparison.Comparison": _comparison,
    "llama_nb.interpret.attention.AttentionTrace": _attention,
    "llama_nb.interpret.attention_twin.AttentionView": _attention_view,
    "llama_nb.interpret.routing.RoutingTrace": _routing,
    "llama_nb.interpret.routing_twin.RoutingView": _routing_view,
    "llama_nb.session.anatomy.Anatomy": _anatomy,
    "llama_nb.session.lens.LensTrace": _lens,
    "llama_nb.tuning.run.Run": _run,
}


def install(shell: Any) -> Callable[[], None]:
    """Show these values live in `shell`; return the function that ends it."""
    formatter = shell.display_formatter.mimebundle_formatter
    for full_name, view in _VIEWS.items():
        module, _, name = full_name.rpartition(".")
        formatter.for_type_by_name(module, name, _shower(view))

    def uninstall() -> None:
        for full_name in _VIEWS:
            formatter.pop(full_name, None)

    return uninstall


def _shower(view: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def show(value: Any) -> Any:
        environment = detect()
        widget = view(value) if environment.watched and environment.widgets else None
        shown = None if widget is None else widget._repr_mimebundle_()
        return value._repr_mimebundle_() if shown is None else shown

    return show
