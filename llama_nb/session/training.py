"""Training a loaded model: what `Model.train` takes, and what a run needs of a model.

Everything is checked before a run's folder is made. How a run is executed is `tuning`'s business; what is
shown of it are views of its folder.
"""

from typing import TYPE_CHECKING, Any, cast

from llama_nb.core.errors import TrainingError, UnsupportedError
from llama_nb.core.events import Note, publish

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llama_nb.engines.transformers_engine import TransformersEngine
    from llama_nb.engines.worker import Background
    from llama_nb.session.model import Model
    from llama_nb.tuning.data import TrainingData
    from llama_nb.tuning.parts import Parts
    from llama_nb.tuning.preview import Preview
    from llama_nb.tuning.run import Run


class Trains:
    """A model that can be trained."""

    def train(
        self,
        data: Any,
        *,
        format: str | None = None,  # noqa: A002 - as users say it
        name: str | None = None,
        process: bool = False,
        wait: bool = False,
        launch: str | None = None,
        export: str | None = None,
        gpus: int | None = None,
        workers: int | None = None,
        nodes: int = 1,
        shard: bool = False,
        **recipe: Any,
    ) -> "Run":
        """Train an adapter on data (or every weight, with `method="full"`), and return at once.

        The model goes on to answer while it learns: between two batches it serves whoever waits. The run is a
        folder, `runs/NAME`; the same call goes on with a run that was left, and never writes over another.

        Parameters
        ----------
        data
            The path of a JSONL, JSON, CSV, TSV or Parquet file, a DataFrame, a list of records, a
            `datasets.Dataset`, or a chat. `preview` shows what of it would be learned.
        format
            How the records are to be read ("openai", "alpaca" ...); None: it is recognised.
        name
            What to call the run and its adapter; default the data file's name.
        process
            Train in a process of its own, which survives this one.
        wait
            Return when it is over.
        launch
            Have several processes train it: "torchrun", "accelerate", "ray" or "ray://HEAD:10001".
        export
            Start nothing, and write a job's file into the run's folder: "sbatch", "accelerate" or "ray".
        gpus, workers, nodes
            How many processes: with a GPU each, or wherever there is room; of a job, on how many machines.
        shard
            Spread the frozen base over these processes (FSDP).
        **recipe
            Parameters of `tuning.recipe.Recipe`: rank, alpha, target, method, lr, steps or epochs, batch ...

        Raises
        ------
        TrainingError, DataError
            If a parameter, or something in the data, is wrong; nothing has begun then.
        UnsupportedError
            If the model does not run in this process, or cannot be trained.
        """
        from llama_nb.tuning.elsewhere import elsewhere
        from llama_nb.tuning.recipe import Recipe

        where = elsewhere(
            Recipe.of(**recipe),
            launch=launch,
            export=export,
            gpus=gpus,
            workers=workers,
            nodes=nodes,
            shard=shard,
        )
        rows = _read(data, format)
        parts = parts_of(cast("Model", self))
        from llama_nb.tuning.starting import start

        run = start(
            parts,
            rows,
            where.recipe,
            name=name,
            process=process,
            executor=where.executor,
            executor_name=where.name,
        )
        if run.said and export is None:
            publish(Note(run.said))
        return run.wait() if wait else run

    def preview(
        self,
        data: Any,
        *,
        format: str | None = None,  # noqa: A002 - as users say it
        command: str = "",
        **recipe: Any,
    ) -> "Preview":
        """Return what `train` would learn of the data: each token, trained or masked; lengths; what is odd.

        Takes what `train` takes; nothing is trained. `command` is the line that it tells to go on with.
        """
        from llama_nb.tuning.preview import preview
        from llama_nb.tuning.recipe import Recipe

        wanted = Recipe.of(**recipe)
        rows = _read(data, format)
        return preview(rows, parts_of(cast("Model", self)), wanted, command=command)


def parts_of(model: "Model") -> "Parts":
    """Return what a run needs of a loaded model.

    Raises
    ------
    UnsupportedError
        If there are no weights here that could be trained.
    """
    from llama_nb.tuning.parts import Parts

    if model.replayed:
        raise UnsupportedError(
            f"{model.name} is played back from {model.replayed}: there are no weights to train.",
            f"Load the model itself: %llama load {model.source}",
        )
    adapters = model.adapter_set()
    return Parts(
        engine=cast("TransformersEngine", model.plain_engine),
        loaded=model.loaded,
        adapters=adapters,
        source=model.source,
        name=model.name,
        fingerprint=model.fingerprint,
    )


def training_on(model: "Model") -> "Background[Any] | None":
    """Return the training that goes on in a model here, or waits for its turn; None without one."""
    engine = model.plain_engine
    if not engine.capabilities.train or model.replayed:
        return None
    return cast("TransformersEngine", engine).background()


def stop_trainings(models: "Iterable[Model]", reason: str = "stopped") -> list[str]:
    """Stop the training of each model, with a checkpoint; return what those were."""
    going_on = [training for model in models if (training := training_on(model)) is not None]
    for training in going_on:
        training.stop(reason)
    return [training.purpose for training in going_on]


def _read(data: Any, form: str | None) -> "TrainingData":
    from llama_nb.tuning.data import read_data

    if data is None or (isinstance(data, str) and not data.strip()):
        raise TrainingError("There is no data to train on.", "Name a file: m.train('data.jsonl')")
    return read_data(data, form)
