"""Several training runs at once: a table of them, and a comparison that shows itself."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llama_nb.core.errors import TrainingError
from llama_nb.render import runs as rendered
from llama_nb.runtime.environment import detect
from llama_nb.tuning.run import Run, open_run
from llama_nb.tuning.run_reading import RunReading

if TYPE_CHECKING:
    from llama_nb.render.nodes import Element


class RunComparison:
    """Runs whose curves are laid on each other. Shows how they are at the moment when it is shown.

    Attributes
    ----------
    runs
        Which runs.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = tuple(runs)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        readings = [_read(run) for run in self.runs]
        recipes = [{row["name"]: row["value"] for row in each.recipe()["rows"]} for each in readings]
        return rendered.comparison(
            [each.head() for each in readings],
            [each.curves.points().to_record() for each in readings],
            recipes,
            watched=detect().watched,
        )

    def __repr__(self) -> str:
        return self._repr_mimebundle_()["text/plain"]


def compare_runs(*runs: Run | str) -> RunComparison:
    """Lay the curves of runs on each other.

    Parameters
    ----------
    *runs
        Runs, their names under ./runs, or their folders; from two to six.

    Raises
    ------
    TrainingError
        If there are too few or too many, or one of them does not exist.
    """
    if not 2 <= len(runs) <= rendered.MOST:
        raise TrainingError(
            f"{len(runs)} runs cannot be compared.", f"Name two to {rendered.MOST}: %llama runs A B"
        )
    return RunComparison([run if isinstance(run, Run) else open_run(run) for run in runs])


def run_table(runs: Sequence[Run], *, watched: bool) -> "Element":
    """Return a table with a row a run."""
    return rendered.table([_read(run).head() for run in runs], watched=watched)


def _read(run: Run) -> RunReading:
    reading = RunReading(run.files)
    reading.look()
    return reading
