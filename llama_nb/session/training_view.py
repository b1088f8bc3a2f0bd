"""A training run to be watched and ordered about: what its folder says, and the model here that it trains.

Works on any run folder, whoever executes the run. A page's orders are checked here; how anything is shown is
the panel's business.
"""

from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import LlamaError, ModelGone, TrainingError
from llama_nb.render import training as rendered
from llama_nb.session import registry
from llama_nb.tuning.run_reading import RunReading

if TYPE_CHECKING:
    from llama_nb.session.model import Model
    from llama_nb.tuning.run import Run

ORDERS: Final = ("pause", "resume", "stop", "save")
_BY: Final = "ordered in the panel"


class TrainingView:
    """One run, looked at again and again.

    Parameters
    ----------
    run
        Which run.
    """

    def __init__(self, run: "Run") -> None:
        self.run = run
        self.reading = RunReading(run.files)
        self.sample_step: int | None = None  # whose answers are shown; None: the newest

    def look(self) -> None:
        """Read what is new in the folder."""
        self.reading.look()

    @property
    def going_on(self) -> bool:
        """Whether somebody works on the run, or soon will."""
        return self.reading.going_on

    # --- what is shown ----------------------------------------------------------------------------------

    def head(self) -> dict[str, Any]:
        """Return who the run is, how far, and whether chats here ask its adapter."""
        head = self.reading.head()
        model = self._model()
        name = head["adapter"]
        there = model is not None and name in model.adapters
        if there and "prompt" not in head["orders"] and self.going_on:
            head["orders"].append("prompt")
        on = model is not None and there and name in model.adapters.active
        if self.run.adapter is not None and not there and not head["sentence"]:
            load = f"%llama adapter load {self.run.files.shown}"
            head["sentence"] = f"To talk to it, with {head['model']} loaded: {load}"
        return {**head, "alive": there, "adapter_on": on, "chat": "%%llama chat" if there else ""}

    def samples(self) -> dict[str, Any]:
        """Return the answers of the chosen step, or the newest."""
        return self.reading.samples(self.sample_step)

    def recipe(self) -> dict[str, Any]:
        """Return the parameters with their help."""
        return self.reading.recipe()

    def text(self, *, watched: bool) -> str:
        """Return the run as text."""
        return rendered.to_plain(self.reading.head(), self.reading.samples(), watched=watched)

    def html(self, *, watched: bool) -> str:
        """Return the run as HTML that stands alone."""
        curves = self.reading.curves.points().to_record()
        return rendered.to_page(self.reading.head(), curves, self.reading.samples(), watched=watched)

    # --- what is done -----------------------------------------------------------------------------------

    def order(self, kind: str) -> None:
        """Pause, resume, stop or save.

        Raises
        ------
        TrainingError
            If the run takes no orders, or cannot go on here.
        """
        match kind:
            case "pause":
                self.run.pause(_BY)
            case "stop":
                self.run.stop(_BY, wait=False)
            case "save":
                self.run.save_now()
            case "resume":
                from llama_nb.session.resuming import resume

                resume(self.run)
            case _:
                raise TrainingError(f"{kind[:40]!r} is no order.", f"A run obeys {', '.join(ORDERS)}.")

    def add_prompt(self, prompt: str) -> None:
        """Have `prompt` answered with the others from now on.

        Raises
        ------
        TrainingError
            If the run takes none any more.
        """
        self.run.files.add_prompt(prompt)

    def use_adapter(self, use: bool) -> None:
        """Have the chats of the model here ask the adapter, or the base alone.

        Raises
        ------
        ModelGone
            If the model is not loaded here, or does not have the adapter.
        """
        model, name = self._model(), self.run.name
        if model is None or name not in model.adapters:
            raise ModelGone(
                f"The adapter {name} is not in a model of this kernel.",
                f"Load its base, then: %llama adapter load {self.run.files.shown}",
            )
        if use:
            model.adapters.use(name)
        else:
            model.adapters.off()

    def _model(self) -> "Model | None":
        try:
            base = self.run.base
        except LlamaError:
            return None
        return registry.loaded_of(base.fingerprint, base.name)
