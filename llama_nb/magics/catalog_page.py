"""Shows the catalogue's values as tables in a page; their repr is text, as they stand below `render`."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

# By name, so that nothing of the catalogue is imported before it is used.
_VIEWS: Final = {
    "llama_nb.catalog.models.Models": "models_table",
    "llama_nb.catalog.catalog.ModelCard": "model_view",
    "llama_nb.catalog.licences.Licence": "licence_view",
}


def install(shell: Any) -> Callable[[], None]:
    """Show models, model cards and licences as tables in `shell`; return the function that ends it."""
    formatter = shell.display_formatter.formatters["text/html"]
    for kind, view in _VIEWS.items():
        module, _, name = kind.rpartition(".")
        formatter.for_type_by_name(module, name, partial(_html, view))

    def uninstall() -> None:
        for kind in _VIEWS:
            formatter.pop(kind, None)

    return uninstall


def _html(view: str, value: Any) -> str | None:
    from llama_nb.magics import catalog_views

    bundle: dict[str, str] = getattr(catalog_views, view)(value)._repr_mimebundle_()
    return bundle.get("text/html")
