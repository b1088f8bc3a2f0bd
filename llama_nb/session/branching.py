"""Other ways for a conversation to go: another answer, other words, another token, on from where it ended.

Each is a branch of the chat's tree beside what is there, and the conversation moves to it when it begins.
What a version is made from is `session/answer.py`'s business, how it is sent and kept `session/version.py`'s.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import MessageError
from llama_nb.core.events import Alternative, TokenEvent
from llama_nb.core.sampling import Sampling
from llama_nb.runtime import presets
from llama_nb.session.answer import Answer, find_answer, find_answered, find_question
from llama_nb.session.asking import read_question
from llama_nb.session.chat import Chat, unknown_chat
from llama_nb.session.defaults import check_options, idle_options, resolve
from llama_nb.session.next_token import find_index
from llama_nb.session.reply import Reply
from llama_nb.session.sending import Sender
from llama_nb.session.turns import ChatTurn
from llama_nb.session.version import Start

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine

_OPTIONS: Final = ("chat", "at", "background")


class Brancher(Sender):
    """A model whose conversations have branches."""

    def retry(
        self, *, chat: str | None = None, at: str | None = None, background: bool = False, **sampling: Any
    ) -> Reply:
        """Answer a message once more; the answer becomes another version beside the one that is there.

        Parameters
        ----------
        chat
            Name of the chat; default `chats.current`.
        at
            The start of the id of an answer, or of a message of yours; default the last answer.
        background
            As of `chat`.
        **sampling
            As of `chat`: the session's parameters hold, not those of the answer that is there (as with
            `Reply.rerun`). Another seed is drawn unless one is given.

        Returns
        -------
        Reply
            A version that is word for word one that is there already adds none: its notes say so.

        Raises
        ------
        LlamaError
            If there is no such chat, message or answer; nothing is changed then.
        SamplingError
            If a parameter is out of its range.
        """
        talk = self._branched(chat, sampling)
        drawn = {"seed": None, **presets.expand(sampling)}
        parameters = resolve(drawn, self._generation_config, self.context)

        def start(_: "Engine") -> Start:
            old = find_answered(talk, at, "retry")
            if old.asked.message.role == "user" and old.asked.system != talk.system:
                # Under another system prompt it is another question.
                old = Answer(talk, talk.add(old.asked.message, parent=old.asked.parent, move=False))
            return _start(old, parameters, sampling)

        return self._version(talk, start, background)

    def edit(
        self,
        message: str,
        *,
        chat: str | None = None,
        at: str | None = None,
        background: bool = False,
        **sampling: Any,
    ) -> Reply:
        """Put a message of yours in other words, and have that answered; what followed the old words stays.

        Parameters
        ----------
        message
            The new words.
        at
            The start of the id of the message; default your last one.
        chat, background, **sampling
            As of `chat`.

        Raises
        ------
        LlamaError
            If there is no such chat or message; nothing is changed then.
        MessageError, SamplingError, ContextOverflow
            As of `chat`.
        """
        talk = self._branched(chat, sampling)
        if not isinstance(message, str):
            raise MessageError(f"The message is a {type(message).__name__}, not text.")
        question = read_question(message, None)
        parameters = resolve(sampling, self._generation_config, self.context)
        reply = self._reply("chat", parameters, question.text, None, talk.name, sampling)
        reply.rerunner = functools.partial(self._rerun, talk)
        turn = ChatTurn(
            talk, question, reply, "drop-oldest", follows=lambda _: find_question(talk, at, "edit").parent
        )
        generation = self._generation(reply, turn, talk)
        return generation.start() if background else generation.run()

    def branch(
        self,
        position: int,
        token: int | str | None = None,
        *,
        rank: int | None = None,
        chat: str | None = None,
        at: str | None = None,
        background: bool = False,
        **sampling: Any,
    ) -> Reply:
        """Keep an answer up to a token, put another one there, and let the model go on.

        The KV cache is reused, and what follows is what would have followed: in float32 the token that was
        chosen, with the same seed, gives the same rest again.

        Parameters
        ----------
        position
            Which token of the answer is replaced, from 0; negative ones count from the end.
        token
            What stands there instead: a token's id, or a text that is one token (" the").
        rank
            Or the alternative of this rank that was recorded there, 1 the likeliest. With neither, the model
            chooses anew, with another seed unless one is given.
        chat, at, background
            As of `retry`.
        **sampling
            Parameters of `Sampling` that differ from those of the answer. `max_tokens` is how many tokens
            come at most behind the new one; by default the whole answer may be as long as it was allowed.

        Returns
        -------
        Reply
            With all of its tokens: those that were kept, the new one, and what follows.

        Raises
        ------
        LlamaError
            If there is no such chat, answer, position, token or rank, or the tokens of the answer are not
            known any more; nothing is changed then.
        """
        talk = self._branched(chat, sampling)
        if token is not None and rank is not None:
            raise MessageError("Both token and rank are given.", "Name the token, or its rank.")

        def start(engine: "Engine") -> Start:
            old = find_answer(talk, at, "branch")
            tokens = old.tokens(engine, self.fingerprint)
            if tokens is None:
                raise MessageError(
                    f"The tokens of this answer are not known to {self.name}, so no "
                    "other one can stand in their place.",
                    "Ask again (%llama retry), or go on with its text (%llama continue).",
                )
            index = find_index(position, len(tokens), "The answer")
            kept, there = tokens[:index], tokens[index]
            chosen = () if token is None and rank is None else (_chosen(engine, there, token, rank, index),)
            fresh = {} if chosen else {"seed": None}
            begun = (*kept, *chosen)
            own = self._own(old, {**fresh, **presets.expand(sampling)}, len(begun))
            return _start(old, own, sampling, begun, self._rounding())

        return self._version(talk, start, background)

    def go_on(
        self, *, chat: str | None = None, at: str | None = None, background: bool = False, **sampling: Any
    ) -> Reply:
        """Continue an answer that was stopped or cut off; the longer one becomes a version beside it.

        Of an answer that the model ended itself the end is left out, and the likeliest other token comes in
        its place.

        Parameters
        ----------
        chat, at, background
            As of `retry`.
        **sampling
            Parameters of `Sampling` that differ from those of the answer. `max_tokens` is how many tokens
            come at most; by default as many as were allowed the last time.

        Returns
        -------
        Reply
            With the whole answer: `text` and `tokens` hold what was there and what came.

        Raises
        ------
        LlamaError
            If there is no such chat or answer, or there is nothing to go on with; nothing is changed then.
        """
        talk = self._branched(chat, sampling)

        def start(engine: "Engine") -> Start:
            old = find_answer(talk, at, "continue")
            if old.reply is not None and old.reply.finish is not None and old.reply.finish.complete:
                raise MessageError(
                    f"The {old.reply.grammar} is whole: nothing can follow.", "Ask again: %llama retry"
                )
            begun, retold = old.tokens_or_text(engine, self.fingerprint)
            if not begun:
                raise MessageError("The answer is empty: there is nothing to go on with.", "%llama retry")
            if old.finish == "end" and begun[-1].id is not None and engine.is_special(begun[-1].id):
                end = begun[-1]
                begun = (*begun[:-1], *_instead_of(end, engine))
            limit = {"max_tokens": old.step(self.sampling)}
            own = self._own(old, {**limit, **presets.expand(sampling)}, len(begun))
            return dataclasses.replace(
                _start(old, own, sampling, begun, (*retold, *self._rounding())), room=1
            )

        return self._version(talk, start, background)

    def _branched(self, name: str | None, options: Mapping[str, Any]) -> Chat:
        """Return the chat of that name, which must exist, for a call with these options."""
        if not self.alive:
            raise self._gone()
        check_options(options, _OPTIONS)
        Sampling(**presets.expand(options))  # refused before anything waits
        name = self.chats.current if name is None else name
        if name not in self.chats:
            raise unknown_chat(name, self.chats)
        return self.chats[name]

    def _own(self, old: Answer, options: Mapping[str, Any], begun: int) -> Sampling:
        """Return an answer's parameters with those of a call; its `max_tokens` counts behind what it has."""
        changed = old.sampling(self.sampling).replace(**options)
        if "max_tokens" in options and changed.max_tokens is not None:
            return changed.replace(max_tokens=changed.max_tokens + begun)
        return changed

    def _rounding(self) -> tuple[str, ...]:
        """Say that a version which begins with tokens may be another than it would have been."""
        if self.dtype == "float32":
            return ()
        return (
            f"In {self.dtype} what follows may differ from what would have followed: the tokens before it "
            "are computed together, and rounded otherwise.",
        )


def _start(
    old: Answer,
    sampling: Sampling,
    options: Mapping[str, Any],
    begun: tuple[TokenEvent, ...] = (),
    notes: tuple[str, ...] = (),
) -> Start:
    """Return where a version of `old` begins; `options` are the parameters that the call named."""
    reply = old.reply
    return Start(
        old.asked.id,
        old.request(),
        sampling,
        user=old.asked.message.content if old.asked.message.role == "user" else None,
        system=old.system,
        parent=reply.parent if reply is not None else old.before,
        begun=begun,
        form=old.form,
        reader=reply.reader if reply is not None else None,
        results=reply.results if reply is not None else (),
        notes=(*idle_options(options, sampling), *notes),
        sent=reply is not None and reply.request is not None,
    )


def _chosen(
    engine: "Engine", there: TokenEvent, token: int | str | None, rank: int | None, index: int
) -> TokenEvent:
    """Return the token that takes the place of `there`, as if it had been chosen from what was there."""
    found = _named(engine, there, token) if rank is None else _ranked(there, rank, index).id
    other = next((other for other in there.alternatives if other.id == found), None)
    if found == there.id:
        return there
    return dataclasses.replace(
        there,
        id=found,
        logprob=other.logprob if other else None,
        sampled=other.sampled if other else None,
    )


def _ranked(there: TokenEvent, rank: int, index: int) -> Alternative:
    count = len(there.alternatives)
    if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= count:
        if not count:
            raise MessageError(
                f"What else could have stood at token {index} is not in memory any more.",
                'Name the token itself: %llama branch POSITION --token " the"',
            )
        raise MessageError(f"rank is {rank!r}; {count} alternatives were recorded there, 1 the likeliest.")
    return there.alternatives[rank - 1]


def _named(engine: "Engine", there: TokenEvent, token: int | str | None) -> int:
    if isinstance(token, int) and not isinstance(token, bool):
        return token  # the engine knows which there are
    if not isinstance(token, str) or not token:
        raise MessageError(f"token is {token!r}; it is a token's id, or a text that is one token.")
    for other in there.alternatives:
        if other.text == token:
            return other.id
    ids = engine.tokenize(token)
    if len(ids) != 1:
        shown = ", ".join(map(repr, engine.token_texts(ids)))
        raise MessageError(
            f"{token!r} is {len(ids)} tokens: {shown}.",
            "Name one token; a space before a word belongs to it.",
        )
    return ids[0]


def _instead_of(end: TokenEvent, engine: "Engine") -> tuple[TokenEvent, ...]:
    """Return the likeliest word that could have come where the model ended; none if none is known."""
    for other in end.alternatives:
        if not (other.forbidden or engine.is_special(other.id)):
            return (dataclasses.replace(end, id=other.id, logprob=other.logprob, sampled=other.sampled),)
    return ()
