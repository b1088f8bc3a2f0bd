"""A model that is given functions: what `Model.tools` checks before anything is sent, and how it begins."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, Final

from llama_nb.core.errors import ToolError
from llama_nb.core.request import Overflow
from llama_nb.session.approval import PromptApproval, in_background
from llama_nb.session.asking import Asked, Question, read_question
from llama_nb.session.chat import Chat
from llama_nb.session.defaults import check_options, resolve
from llama_nb.session.generation import Generation
from llama_nb.session.overflow import check_overflow
from llama_nb.session.sending import Sender
from llama_nb.session.tool_function import Tool, read_tools
from llama_nb.session.tool_loop import ToolLoop, check_rounds
from llama_nb.session.tool_turns import ToolTurn
from llama_nb.session.tools import Approve, ToolRun

_OPTIONS: Final = ("approve", "auto", "rounds", "chat", "system", "overflow", "background")


class ToolUser(Sender):
    """A model that can be given functions."""

    def tools(
        self,
        message: Asked,
        tools: Callable[..., Any] | Iterable[Callable[..., Any]],
        *,
        approve: Approve | None = None,
        auto: bool = False,
        rounds: int = 5,
        chat: str | None = None,
        system: str | None = None,
        overflow: Overflow = "drop-oldest",
        background: bool = False,
        **sampling: Any,
    ) -> ToolRun:
        """Send a message and let the model call functions of yours before it answers.

        The functions are described to the model in its own format, from their type hints and docstrings.
        Each call that it writes is checked, shown, and asked for; what the function returns goes back to the
        model, which then answers or calls again. Nothing else that it writes is looked up or run.

        Parameters
        ----------
        message
            As of `chat`.
        tools
            Functions with type hints.
        approve
            Is given a PendingCall and says whether it may run; called in the thread of the run. By default
            the person at the keyboard is asked; where there is none, as in the background, the answer is no,
            and that is an error.
        auto
            Functions that are marked with `llama_nb.tool(safe=True)` run without being asked for.
        rounds
            How many replies may have their calls run; then the model has to answer with what it has.
        chat, system, overflow, background, **sampling
            As of `chat`; the parameters hold for each reply of the run.

        Returns
        -------
        ToolRun
            With the answer, every reply, and every call with what came of it. A call that is wrong, refused
            or fails is told to the model and ends nothing. An interrupt stops the model or the function.

        Raises
        ------
        ToolError
            If a function cannot be described, or a call needs somebody to allow it and nobody can be asked.
        MessageError, SamplingError, UnsupportedError, TemplateError, ContextOverflow
            As of `chat`.
        """
        if not self.alive:
            raise self._gone()
        check_options(sampling, _OPTIONS)
        check_overflow(overflow)
        given = read_tools(tools)
        check_rounds(rounds)
        if approve is not None and not callable(approve):
            raise ToolError(
                f"approve is a {type(approve).__name__}, not a function.", "approve=lambda call: True"
            )
        question = read_question(message, system)
        talk = Chat("tools") if question.whole and chat is None else self.chats.open(chat)
        run = ToolRun()
        make = functools.partial(self._round, run, talk, tuple(given.values()), overflow, sampling)
        generation, turn = make(question)
        engine = self.engine
        loop = ToolLoop(
            run,
            given,
            approve=approve or (in_background if background else PromptApproval()),
            auto=auto,
            rounds=rounds,
            following=lambda before, at: make(Question((), None, whole=False), before, at),
            count_tokens=lambda text: len(engine.tokenize(text)),
            most_tokens=max(64, engine.context // 4),
            busy=self._add_active,
            idle=self._drop_active,
        )
        return loop.beside(generation, turn) if background else loop.here(generation, turn)

    def _round(
        self,
        run: ToolRun,
        talk: Chat,
        tools: tuple[Tool, ...],
        overflow: str,
        options: dict[str, Any],
        question: Question,
        before: ToolTurn | None = None,
        at: str | None = None,
    ) -> tuple[Generation, ToolTurn]:
        """Return one round: of a question, or of the results that end with the message `at`."""
        sampling = resolve(options, self._generation_config, self.context)
        named = talk.name if self.chats.get(talk.name) is talk else None
        asked = question.text if question.messages else None
        reply = self._reply(
            "chat", sampling, asked, question.system, named, options if before is None else {}
        )
        reply.stop_flag = run.stop_flag
        turn = ToolTurn(talk, reply, tools, question, overflow, at, before.session if before else "")
        reply.rerunner = functools.partial(self._rerun, turn.chat)
        return self._generation(reply, turn, talk), turn
