"""What a user does with a loaded model: chats with it, asks it for objects, looks at what it sees."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_nb.core.errors import MessageError
from llama_nb.core.request import Overflow
from llama_nb.core.stop import StopFlag
from llama_nb.runtime import presets
from llama_nb.session.ablating import active, carrying, refuse_in_block
from llama_nb.session.asking import Asked
from llama_nb.session.batch import check_size, read_prompts, run_batch
from llama_nb.session.batch_result import BatchResult
from llama_nb.session.branching import Brancher
from llama_nb.session.chat import Chat
from llama_nb.session.converting import Converter
from llama_nb.session.defaults import check_options, resolve
from llama_nb.session.distribution import HEAD, Distribution
from llama_nb.session.embedding import embed_texts
from llama_nb.session.form import one_form
from llama_nb.session.looking import Looker
from llama_nb.session.next_token import examine, find_place
from llama_nb.session.prompt_view import PromptView, chat_request, view_prompt
from llama_nb.session.reply import Reply
from llama_nb.session.stream import TokenStream
from llama_nb.session.token_view import TokenView, view_tokens
from llama_nb.session.tool_use import ToolUser
from llama_nb.session.training import Trains

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Model(ToolUser, Brancher, Looker, Trains, Converter):
    """A loaded model.

    Made by `llama_nb.load`. Text goes in by `chat` (the model answers, turn by turn), `complete` (it goes
    on with a text), `stream` (token by token) and their `a...` forms for `await`.

    Attributes
    ----------
    name
        What `%llama use` and `--model` call it.
    source
        What was loaded: `llama_nb.load(source)` loads it again.
    chats
        Its chats by name; `chats.current` is the one that is used where a call names none.
    """

    # --- text in, text out --------------------------------------------------------------------------

    def chat(
        self,
        message: Asked,
        *,
        chat: str | None = None,
        system: str | None = None,
        overflow: Overflow = "drop-oldest",
        images: object = None,
        schema: object = None,
        adapter: str | None = None,
        background: bool = False,
        **sampling: Any,
    ) -> Reply:
        """Send a message and return the reply; what is there already can be seen while it grows.

        Parameters
        ----------
        message
            A text, which becomes the next turn of a chat; or a list of messages, a conversation of its own
            that belongs to no chat (unless `chat` is given: then its messages are appended to that chat).
        chat
            Name of the chat, made when it is new; default `chats.current`.
        system
            The system prompt of the chat from now on; "" takes it away, None leaves it as it is.
        overflow
            What to do when the conversation outgrows the context: "drop-oldest" leaves out whole turns
            (never the system prompt), and a note in the reply says how many; "error" raises.
        images
            Refused: no engine of this version reads images.
        schema
            What the reply must be, as `json` takes it; `Reply.json` is then the object.
        adapter
            The adapter that answers this message, "off" for the base alone; None: what is on
            (`m.adapters.use`).
        background
            Return at once with a Reply that a thread fills (`Reply.wait`, `Reply.stop`).
        **sampling
            Parameters of `Sampling` for this reply alone; `preset="creative"` stands for those of a preset.

        Returns
        -------
        Reply
            An interrupt stops the model and returns what is there, its `finish.reason` "stopped". The
            second interrupt in one notebook cell is raised, so that a loop over messages can be left.

        Raises
        ------
        MessageError, SamplingError, SchemaError, UnsupportedError, TemplateError, ContextOverflow
            Before anything is sent; the chat is as it was.
        EngineError
            If the engine fails; what came before is kept in the chat.
        """
        generation = self._ask(message, chat, system, overflow, images, schema, sampling, adapter)
        return generation.start() if background else generation.run()

    def json(
        self,
        message: Asked,
        schema: object = None,
        *,
        regex: str | None = None,
        choice: str | Sequence[str] | None = None,
        background: bool = False,
        **options: Any,
    ) -> Reply:
        """Send a message as `chat` does and hold the reply to a form; `Reply.json` is the object.

        Tokens that cannot lead to it are ruled out before the sampling, so a reply that ends by itself always
        parses. The model is not told the form: what it should write belongs into the message. A base model
        goes on with the text instead.

        Parameters
        ----------
        schema
            A pydantic model, a dataclass, a TypedDict or another type that pydantic reads, such as
            `list[int]`; or a JSON schema as a mapping.
        regex, choice
            In place of a schema: a pattern that the whole reply matches; or the texts that it can be, as a
            list or with commas between them.
        **options
            As of `chat`.

        Raises
        ------
        SchemaError
            If there is no such form, or tokens cannot be held to it; nothing is sent.
        UnsupportedError
            If the model's engine cannot rule out tokens.
        """
        form = one_form(schema, regex, choice)
        to_complete = isinstance(message, str) and not {"chat", "system"} & options.keys()
        if to_complete and not self.engine.has_chat_template:
            return self.complete(message, schema=form, background=background, **options)  # type: ignore[arg-type]
        return self.chat(message, schema=form, background=background, **options)

    def complete(
        self,
        text: str,
        *,
        schema: object = None,
        adapter: str | None = None,
        background: bool = False,
        **sampling: Any,
    ) -> Reply:
        """Go on with `text` as it is: no template, no chat. What a base model can do.

        With `schema` what follows is held to it, as in `json`; `adapter` is as for `chat`.
        """
        generation = self._continue(text, schema, sampling, adapter)
        return generation.start() if background else generation.run()

    def stream(
        self,
        message: Asked,
        *,
        chat: str | None = None,
        system: str | None = None,
        overflow: Overflow = "drop-oldest",
        images: object = None,
        schema: object = None,
        adapter: str | None = None,
        **sampling: Any,
    ) -> TokenStream:
        """Send a message as `chat` does and yield the tokens; `.reply` of the result is the Reply."""
        return TokenStream(self._ask(message, chat, system, overflow, images, schema, sampling, adapter))

    async def achat(
        self,
        message: Asked,
        *,
        chat: str | None = None,
        system: str | None = None,
        overflow: Overflow = "drop-oldest",
        images: object = None,
        schema: object = None,
        adapter: str | None = None,
        **sampling: Any,
    ) -> Reply:
        """Send a message as `chat` does, without blocking the event loop; cancelling stops the model."""
        asked = self._ask(message, chat, system, overflow, images, schema, sampling, adapter)
        return await asked.finished()

    async def acomplete(
        self, text: str, *, schema: object = None, adapter: str | None = None, **sampling: Any
    ) -> Reply:
        """Go on with `text` as `complete` does, without blocking the event loop."""
        return await self._continue(text, schema, sampling, adapter).finished()

    # --- many at once -------------------------------------------------------------------------------

    def batch(
        self,
        prompts: Iterable[Any],
        *,
        system: str | None = None,
        out: str | Path | None = None,
        overwrite: bool = False,
        batch_size: int | None = None,
        stop: StopFlag | None = None,
        **sampling: Any,
    ) -> BatchResult:
        """Answer many prompts, side by side.

        Parameters
        ----------
        prompts
            Texts, lists of messages, or a pandas Series of texts. Each is a conversation of its own; a base
            model, which has no chat template, goes on with the texts. What is wrong with one prompt is the
            error of its row.
        system
            The system prompt of all of them.
        out
            A file that gets each answer as it comes (JSON lines, mode 0600). When it is there already, its
            rows are not computed again: that is how a stopped batch goes on.
        overwrite
            Replace `out`, whatever it holds.
        batch_size
            How many rows at once at most; by default as many as the free memory holds, 32 at most.
        stop
            Ends the work, as an interrupt does.
        **sampling
            Parameters of `Sampling`. Greedy rows are what they are alone. With a `seed` rows run one at a
            time, since sums over a batch are rounded otherwise.

        Returns
        -------
        BatchResult
            When it was stopped, with what was done by then.

        Raises
        ------
        MessageError, SamplingError
            If there are no prompts, or a parameter is out of its range.
        BatchError
            If `out` belongs to other prompts, another model or other sampling parameters.
        """
        check_options(sampling, ("system", "out", "overwrite", "batch_size", "stop"))
        engine = self.engine
        asked, index = read_prompts(prompts, system, template=engine.has_chat_template)
        return run_batch(
            engine,
            asked,
            resolve(sampling, self._generation_config, self.context),
            name=self.name,
            fingerprint=self.fingerprint,
            index=index,
            out=Path(out).expanduser() if out is not None else None,
            overwrite=overwrite,
            batch_size=check_size(batch_size),
            stop=stop,
            interventions=active(self),
            adapter=self.adapters.label,
        )

    def embed(
        self,
        texts: Iterable[str],
        *,
        pooling: str = "mean",
        normalise: bool = True,
        truncate: bool = False,
        batch_size: int | None = None,
        stop: StopFlag | None = None,
    ) -> "npt.NDArray[np.float32]":
        """Return a vector for each text: the last layer's hidden states, pooled.

        Parameters
        ----------
        texts
            None of them empty.
        pooling
            "mean" of all tokens, or the "last" token, which alone has seen the whole text.
        normalise
            Scale each vector to length 1, so that a dot product is a cosine.
        truncate
            Cut a text that is longer than the context, instead of raising ContextOverflow.
        batch_size, stop
            As for `batch`.

        Returns
        -------
        numpy.ndarray
            Float32 of shape (n, hidden), equal to what each text gives alone to 1e-5 in a float32 model. A
            model that was not trained for it tells topics apart, not much more.

        Raises
        ------
        MessageError, ContextOverflow, UnsupportedError
            If a text is empty or too long, the engine has no hidden states to give, or a part of the model
            is turned off.
        Stopped
            If it was stopped or interrupted.
        """
        refuse_in_block(self, "embed()")
        return embed_texts(
            self.engine,
            texts,
            pooling=pooling,
            normalise=normalise,
            truncate=truncate,
            batch_size=batch_size,
            stop=stop,
        )

    # --- looking at what it sees --------------------------------------------------------------------

    def prompt(
        self, text: str | None = None, *, chat: str | None = None, system: str | None = None
    ) -> PromptView:
        """Return what the model sees: the chat as it stands, or as it would be sent with `text` next.

        Raises
        ------
        MessageError
            If the chat is empty and there is no text.
        """
        talk = self._talk(chat)
        return view_prompt(self.engine, chat_request(talk, text, system), talk.cache_key)

    def tokens(self, text: str) -> TokenView:
        """Return the tokens of `text`: nothing added, control tokens in it taken as plain text."""
        if not isinstance(text, str):
            raise MessageError(f"tokens() takes a text, not a {type(text).__name__}.")
        return view_tokens(self.engine, text)

    def distribution(
        self,
        text: "str | Reply | None" = None,
        *,
        chat: str | None = None,
        position: int | None = None,
        head: int = HEAD,
        **sampling: Any,
    ) -> Distribution:
        """Return the distribution of a next token as it passes through the sampling, stage by stage.

        Parameters
        ----------
        text
            A text that goes on; with `chat` the next message of that chat; or a Reply. None: the chat as it
            stands, or with `position` the last reply.
        chat
            Name of the chat; default `chats.current`.
        position
            Which token of the reply, or of the text's tokens: the distribution that it was chosen from.
            Negative ones count from the end; default what follows the end.
        head
            How many of the likeliest tokens are listed. The distribution is that of all tokens anyway.
        **sampling
            Parameters of `Sampling`, or `preset`; else a reply's own, or those of the session.

        Raises
        ------
        MessageError
            If there is nothing to look at, or no token at `position`.
        UnsupportedError
            If the model does not run in this process.
        """
        check_options(sampling, ("chat", "position", "head"))
        talk = self._talk(chat) if chat is not None or text is None else None
        place = find_place(self.engine, text, position, self._last, talk)
        place = dataclasses.replace(place, request=carrying(self, place.request))
        if place.reply is not None:
            used = place.reply.sampling.replace(**presets.expand(sampling))
        else:
            used = resolve(sampling, self._generation_config, self.context)
        return examine(self.engine, place, used, head)

    def _talk(self, chat: str | None) -> Chat:
        return self.chats.get(chat or self.chats.current) or Chat(chat or self.chats.current)
