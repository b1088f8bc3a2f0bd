"""For a notebook's kernel: the smallest widget that stands in an output."""

from typing import Final

from llama_nb.widgets.live_view import LiveWidget
from llama_nb.widgets.traits import Count

# What labextension/widgets/live_mark.ts does, by hand: a test widget has no bundle of its own.
_PAGE: Final = """
export default {
  render({ model, el }) {
    const draw = () => { el.textContent = `live ${model.get("value")}`; };
    const keep = () => {
      const twin = new CustomEvent("llama-nb-twin", { bubbles: true, detail: model.get("twin") });
      if (Object.keys(twin.detail).length) el.dispatchEvent(twin);
    };
    model.on("change:value", draw);
    model.on("change:twin", keep);
    el.addEventListener("llama-nb-adopted", keep);
    draw();
    el.setAttribute("data-llama-nb-live", "");
  },
};
"""


class Counter(LiveWidget):
    """Shows a number."""

    _esm = _PAGE
    value = Count()

    def count(self) -> None:
        """Count one up."""
        self.value += 1
        self.twin_changed()

    def text_twin(self) -> str:
        """Return the number, in other words than the page."""
        return f"counted to {self.value}"
