"""A training run in a page: its curves, its answers, its recipe, and the buttons that order it about.

Knows the page and its messages; what stands in the run's folder, and what orders do, is
`session.training_view`'s business. It looks at the folder about twice a second while the run is going on, whoever executes it.
"""

from llama_nb.widgets.base import STATIC
from llama_nb.widgets.live_view import LiveWidget
from llama_nb.widgets.traits import Record


class TrainingPanel(LiveWidget):
    """A run of a training. Empty until `fill`."""

    _esm = STATIC / "training.js"
    _css = STATIC / "training.css"

    head = Record("TrainingHead")
    curves = Record("TrainingCurves")
    samples = Record("TrainingSamples")
    recipe = Record("TrainingRecipe")
