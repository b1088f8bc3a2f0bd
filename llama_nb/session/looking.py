"""What a model shows of its inside: the methods of `Model` that look into a forward pass or change one.

Each finds what is to be read, asks `interpret` on the model's worker, and hands back a value.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

from llama_nb.core.stop import StopFlag
from llama_nb.session.anatomy import Anatomy, measure_text, take_apart
from llama_nb.session.attention import Layers, capture, check_texts
from llama_nb.session.attention_live import AttentionWatching, OnRows, wanted_layers
from llama_nb.session.changing import Changer
from llama_nb.session.heads import score
from llama_nb.session.lens import LensTrace
from llama_nb.session.lens_look import Positions, look
from llama_nb.session.reading import find_reading
from llama_nb.session.reading_progress import OnProgress
from llama_nb.session.routing import capture as capture_routing
from llama_nb.session.routing import wanted_mixture
from llama_nb.session.routing_live import OnTokens, RoutingWatching

if TYPE_CHECKING:
    import pandas as pd

    from llama_nb.interpret.attention import AttentionTrace
    from llama_nb.interpret.head_scores import HeadScores
    from llama_nb.interpret.routing import RoutingTrace
    from llama_nb.session.asking import Asked
    from llama_nb.session.chat import Chat
    from llama_nb.session.generation import Generation
    from llama_nb.session.model import Model
    from llama_nb.session.reply import Reply


class Looker(Changer):
    """A model that can be looked into."""

    @overload
    def attention(
        self,
        text: "str | Reply | Chat | None" = None,
        *,
        chat: str | None = None,
        layers: Layers = "all",
        offload: bool = False,
        stop: StopFlag | None = None,
    ) -> "AttentionTrace": ...

    @overload
    def attention(
        self, text: list[str], *, layers: Layers = "all", offload: bool = False, stop: StopFlag | None = None
    ) -> "list[AttentionTrace]": ...

    def attention(
        self,
        text: "str | Reply | Chat | list[str] | None" = None,
        *,
        chat: str | None = None,
        layers: Layers = "all",
        offload: bool = False,
        stop: StopFlag | None = None,
    ) -> "AttentionTrace | list[AttentionTrace]":
        """Return what the model attends to when it reads something.

        Queries and keys of the layers are kept, from which any weight is computed when it is asked for. No
        logits are computed, and the model's own results and caches stay as they are.

        Parameters
        ----------
        text
            A text, a Reply or a Chat; default the last reply, with the prompt that it answers. A list of
            texts gives a list of traces.
        chat
            Name of the chat whose newest reply is meant.
        layers
            "all", or numbers counted from 0: the reading ends behind the last of them.
        offload
            Keep the queries and keys in files of the temporary folder, which go with the trace.
        stop
            Ends the work within a layer, as an interrupt does.

        Raises
        ------
        MessageError, ContextOverflow, UnsupportedError
            If there is nothing to read, more than the context, or no way to look at it.
        TraceError
            If the model has no such layer.
        FitError
            If queries and keys would take more than half of the free memory.
        Stopped
            If it was stopped or interrupted.
        """
        model = cast("Model", self)
        if isinstance(text, list):
            readings = [find_reading(model, each, what="attention") for each in check_texts(text)]
            return capture(model, readings, layers=layers, offload=offload, stop=stop)
        reading = find_reading(model, text, chat=chat, what="attention")
        return capture(model, [reading], layers=layers, offload=offload, stop=stop)[0]

    def heads(
        self,
        kind: str | None = None,
        text: "str | Reply | Chat | None" = None,
        *,
        chat: str | None = None,
        stop: StopFlag | None = None,
    ) -> "HeadScores":
        """Return what each attention head does, as numbers: whether it copies, looks back and so on.

        Parameters
        ----------
        kind
            One score: "induction", "previous", "duplicate", "sink", "local" or "entropy"; default all.
        text
            A text, a Reply or a Chat. Default random tokens that come twice, four times: how the second copy
            goes on is known from the first alone, so that the scores are the heads' and not the text's.
        chat
            Name of the chat whose newest reply is read.
        stop
            Ends the work, as an interrupt does.

        Raises
        ------
        MessageError, ContextOverflow, UnsupportedError, FitError
            If there is no such score, nothing to read, or no way to look at it.
        Stopped
            If it was stopped or interrupted.
        """
        model = cast("Model", self)
        given = text is not None or chat is not None
        reading = find_reading(model, text, chat=chat, what="heads") if given else None
        return score(model, reading, kind, stop=stop)

    def watch_attention(
        self,
        message: "Asked",
        *,
        chat: str | None = None,
        system: str | None = None,
        layers: Layers = "all",
        on_rows: OnRows = lambda _: None,
        **sampling: Any,
    ) -> "tuple[Reply, AttentionTrace]":
        """Send a message as `chat` does, and see what the model attends to while it writes.

        The prompt is read once more for it; then every token that the model reads of its own reply adds a
        row. The last token has none: nothing was written behind it. A base model goes on with the text.

        Parameters
        ----------
        message, chat, system, **sampling
            As of `chat`.
        layers
            As of `attention`.
        on_rows
            Called with the trace when the prompt is there and after each row, on the thread that runs the
            model: it should be quick. The trace can be read at any time, from any thread.

        Returns
        -------
        tuple of Reply and AttentionTrace
            When the reply is done, or was stopped. What `on_rows` raised is raised then.

        Raises
        ------
        MessageError, SamplingError, UnsupportedError, TraceError, ContextOverflow
            Before anything is sent; the chat is as it was.
        FitError
            If queries and keys would take more than half of the free memory.
        Stopped
            If it was stopped before the prompt had been read.
        """
        chosen = wanted_layers(cast("Model", self), layers)
        generation = self._watched(message, chat, system, sampling)
        watching = AttentionWatching(self.engine, generation, chosen, on_rows)
        reply = generation.run()
        return reply, watching.result()

    def routing(
        self,
        text: "str | Reply | Chat | Sequence[str] | pd.DataFrame | None" = None,
        *,
        chat: str | None = None,
        label: str | None = None,
        column: str | None = None,
        keep_logits: bool | None = None,
        path: str | Path | None = None,
        on_progress: OnProgress | None = None,
        stop: StopFlag | None = None,
    ) -> "RoutingTrace":
        """Return which experts of a mixture each token goes through when the model reads something.

        No logits of the vocabulary are computed, and the model's own results and caches stay as they are.
        Inside of `m.route` and `m.ablate` it is the changed model that reads.

        Parameters
        ----------
        text
            A text, a Reply or a Chat; default the last reply, with the prompt that it answers. A list of
            texts or a DataFrame is a corpus: one trace of all, whose arrays lie in a file.
        chat
            Name of the chat whose newest reply is meant.
        label
            The table's column that says what each text is about; default "label", "domain" or "category",
            if there is one.
        column
            The table's column of texts; default "text", or the only one.
        keep_logits
            Keep the routers' logits of all experts, too: 4 bytes a token, layer and expert. Default if they
            are 64 MB at most.
        path
            Where the trace is saved; default a corpus goes into a temporary file that goes with the trace.
        on_progress
            Called with how many tokens are read, of how many, on the thread that runs the model.
        stop
            Ends the work within a layer, as an interrupt does; then no file is left.

        Raises
        ------
        UnsupportedError
            If the model has no experts, or its weights are not in this kernel.
        MessageError, ContextOverflow
            If there is nothing to read, or a text is longer than the context: its row is named.
        FitError, TraceError
            If there is no room for it, or a file of that name.
        Stopped
            If it was stopped or interrupted.
        """
        return capture_routing(
            cast("Model", self),
            text,
            chat=chat,
            label=label,
            column=column,
            keep_logits=keep_logits,
            path=path,
            on_progress=on_progress,
            stop=stop,
        )

    def watch_routing(
        self,
        message: "Asked",
        *,
        chat: str | None = None,
        system: str | None = None,
        on_tokens: OnTokens = lambda _: None,
        **sampling: Any,
    ) -> "tuple[Reply, RoutingTrace]":
        """Send a message as `chat` does, and see which experts its tokens go through while it is written.

        The prompt is read once more for it; then every token that the model reads of its own reply is added.
        The last token is not: nothing was written behind it. A base model goes on with the text.

        Parameters
        ----------
        message, chat, system, **sampling
            As of `chat`.
        on_tokens
            Called with the trace when the prompt is there and after each token, on the thread that runs the
            model: it should be quick. The trace can be read at any time, from any thread; what is not read
            costs next to nothing.

        Returns
        -------
        tuple of Reply and RoutingTrace
            When the reply is done, or was stopped. What `on_tokens` raised is raised then.

        Raises
        ------
        MessageError, SamplingError, UnsupportedError, ContextOverflow
            Before anything is sent; the chat is as it was.
        Stopped
            If it was stopped before the prompt had been read.
        """
        mixture = wanted_mixture(cast("Model", self))
        generation = self._watched(message, chat, system, sampling)
        watching = RoutingWatching(self.engine, generation, mixture, on_tokens)
        reply = generation.run()
        return reply, watching.result()

    def _watched(
        self, message: "Asked", chat: str | None, system: str | None, sampling: dict[str, Any]
    ) -> "Generation":
        """Return what answers a message; a base model goes on with it."""
        if isinstance(message, str) and chat is None and not self.engine.has_chat_template:
            return self._continue(message, None, sampling)
        return self._ask(message, chat, system, "drop-oldest", None, None, sampling)

    def lens(
        self,
        text: "str | Reply | Chat | None" = None,
        *,
        chat: str | None = None,
        top: int = 5,
        positions: Positions = None,
        tuned: str | Path | None = None,
        track: Sequence[int | str] = (),
        stop: StopFlag | None = None,
    ) -> LensTrace:
        """Return what the model would say behind each of its layers (the logit lens, nostalgebraist 2020).

        The state behind a layer goes through the final norm and the unembedding, as if no layer followed.
        The last row is what the model itself says. Distances to it are D(final || layer) =
        sum p (ln p - ln q), in nats, where p is the last layer's distribution and q that of the layer.

        Parameters
        ----------
        text
            A text, a Reply or a Chat; default the last reply, with the prompt that it answers.
        chat
            Name of the chat whose newest reply is meant.
        top
            How many of the likeliest tokens are kept at each place, 1 to 50.
        positions
            Which tokens are looked at: numbers, a range or a slice; default the last 512.
        tuned
            A tuned lens (Belrose et al. 2023): its folder or safetensors file.
        track
            Tokens (ids, or texts that are one token) whose probability is kept everywhere.
        stop
            Ends the work, as an interrupt does.

        Raises
        ------
        MessageError, ContextOverflow, UnsupportedError, FitError
            If there is nothing to look at, or no way to do it.
        LoadError
            If the tuned lens is damaged or belongs to another model.
        Stopped
            If it was stopped or interrupted.
        """
        model = cast("Model", self)
        reading = find_reading(model, text, chat=chat, what="lens")
        return look(model, reading, top=top, positions=positions, tuned=tuned, track=track, stop=stop)

    def anatomy(
        self,
        text: "str | Reply | Chat | None" = None,
        *,
        chat: str | None = None,
        stop: StopFlag | None = None,
    ) -> Anatomy:
        """Return what the model is made of: every block with its shapes, parameters and bytes.

        Parameters
        ----------
        text
            A text, a Reply or a Chat: what runs through each block when the model reads it is measured as
            well (mean, std, rms, largest value, shares of zeros and of negative numbers).
        chat
            Name of the chat whose newest reply is read.
        stop
            Ends the measurement, as an interrupt does.

        Raises
        ------
        UnsupportedError
            If the weights are not in this kernel.
        MessageError, ContextOverflow
            If there is nothing to read, or more than the context.
        Stopped
            If it was stopped or interrupted.
        """
        model = cast("Model", self)
        found = take_apart(model)
        if text is None and chat is None:
            return found
        reading = find_reading(model, text, chat=chat, what="anatomy")
        return measure_text(model, found, reading, stop=stop)
