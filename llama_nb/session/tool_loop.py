"""The loop of a conversation with tools: a reply, its calls checked, asked for and run, the next reply.

A function runs only if its name is one of those that were given, its arguments fit and somebody allowed it;
nothing else that a model writes is ever looked up or run. Each call gets a result, whatever happens to it, so
that the chat stays a conversation that can go on.
"""

import contextvars
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from llama_nb.core.errors import LlamaError, ToolError, nearest
from llama_nb.core.events import CallChanged, publish
from llama_nb.session.generation import Generation, interrupt_stops
from llama_nb.session.reply import Reply
from llama_nb.session.tool_calls import WrittenCall
from llama_nb.session.tool_function import Tool
from llama_nb.session.tool_result import error_text, result_text, sentence_of
from llama_nb.session.tool_turns import ToolTurn
from llama_nb.session.tool_work import Ended, interruptible, run_function
from llama_nb.session.tools import Approve, FunctionCall, PendingCall, ToolRun

MOST_REPEATS: Final = 2  # how often the same call with the same arguments runs in one run
_NO_MORE: Final = "no more calls are run in this conversation: answer with what you have"
_STOPPED: Final = "it was stopped by the user"


class ToolLoop:
    """Fills a ToolRun.

    Parameters
    ----------
    run
        Is filled.
    tools
        The functions by name.
    approve
        Says whether a call may run; raises ToolError where nobody can be asked.
    auto
        Functions that are marked safe run without being asked for.
    rounds
        How many replies may have their calls run.
    following
        Makes the next round: given the turn before and the id of its last result.
    count_tokens
        Counts the tokens of a text.
    most_tokens
        How many tokens of the context one result may take.
    busy, idle
        Told while no reply is being made, and a function is: the model is in use all the same.
    """

    def __init__(
        self,
        run: ToolRun,
        tools: Mapping[str, Tool],
        *,
        approve: Approve,
        auto: bool,
        rounds: int,
        following: Callable[[ToolTurn, str], tuple[Generation, ToolTurn]],
        count_tokens: Callable[[str], int],
        most_tokens: int,
        busy: Callable[[Reply], None],
        idle: Callable[[Reply], None],
    ) -> None:
        self.run = run
        self._tools = tools
        self._approve = approve
        self._auto = auto
        self._rounds = rounds
        self._following = following
        self._count_tokens, self._most_tokens = count_tokens, most_tokens
        self._busy, self._idle = busy, idle
        self._seen: Counter[str] = Counter()
        self._refusal: ToolError | None = None

    def here(self, first: Generation, turn: ToolTurn) -> ToolRun:
        """Run in this thread until the end; an interrupt stops the run and is not raised."""
        self.run.replies.append(first.reply)
        with interrupt_stops(self.run.stop_flag):
            self._guarded(first.run, turn)
        if self.run.error is not None:
            raise self.run.error
        return self.run

    def beside(self, first: Generation, turn: ToolTurn) -> ToolRun:
        """Run in a thread; errors known at once are raised here, later ones are in the run."""
        self.run.replies.append(first.start())
        context = contextvars.copy_context()
        threading.Thread(
            target=context.run,
            args=(self._guarded, first.reply.wait, turn),
            name=f"llama-nb tools (chat {turn.chat.name})",
            daemon=True,
        ).start()
        return self.run

    def _guarded(self, wait: Callable[[], Any], turn: ToolTurn) -> None:
        try:
            self._rounds_of(wait, turn)
        except BaseException as error:  # noqa: BLE001 - in the run: wait() raises it, and so does `here`
            self.run.end(error)
        finally:
            self.run.end(self._refusal)

    def _rounds_of(self, wait: Callable[[], Any], turn: ToolTurn) -> None:
        for number in range(self._rounds + 2):
            wait()
            if not turn.said.calls:
                return
            told = self._results(turn, allowed=number < self._rounds)
            at = turn.keep_results(told)
            over = self.run.stop_flag.is_set() or self._refusal is not None or number > self._rounds
            if over or at is None:
                return
            generation, following = self._following(turn, at)
            following.reply.results = tuple(
                (call.name, text) for call, text in zip(turn.said.calls, told, strict=True)
            )
            self.run.replies.append(following.reply)
            turn, wait = following, generation.run

    def _results(self, turn: ToolTurn, *, allowed: bool) -> list[str]:
        """Decide on each call of a reply, and return what the model is told of it."""
        calls = [self.run.add_call(call.name, call.arguments) for call in turn.said.calls]
        self._busy(turn.reply)
        try:
            for call, written in zip(calls, turn.said.calls, strict=True):
                self._decide(turn.reply, call, written, allowed=allowed)
        finally:
            self._idle(turn.reply)
        return [call.told for call in calls]

    def _decide(self, reply: Reply, call: FunctionCall, written: WrittenCall, *, allowed: bool) -> None:
        tool = self._tools.get(call.name)
        if written.problem:
            self._end(reply, call, "invalid", written.problem)
        elif tool is None:
            self._end(reply, call, "invalid", self._unknown(call.name))
        elif self.run.stop_flag.is_set():
            self._end(reply, call, "refused", _STOPPED)
        elif not allowed:
            self._end(reply, call, "refused", _NO_MORE)
        elif self._repeated(call):
            self._end(reply, call, "refused", "this very call was answered already: use its result")
        else:
            self._check_and_run(reply, call, tool)

    def _check_and_run(self, reply: Reply, call: FunctionCall, tool: Tool) -> None:
        try:
            arguments = tool.read(call.arguments)
        except ToolError as error:
            self._end(reply, call, "invalid", error.message)
            return
        try:
            if not (self._auto and tool.safe) and not self._allowed(reply, call, tool):
                self._end(
                    reply, call, "refused", _STOPPED if self.run.stopped else "the user did not allow it"
                )
                return
            self._change(reply, call, "running")
            call.result = run_function(tool.function, arguments, self.run.stop_flag)
        except Ended as ended:
            self._ended(reply, call, left_running=ended.left_running)
        except ToolError as error:
            if call.state != "asking":
                self._end(reply, call, "failed", sentence_of(error))
                return
            self._refusal = error
            self._end(reply, call, "refused", "nobody could be asked for it")
        except BaseException as error:
            if call.state == "asking":
                self._end(reply, call, "refused", "the question failed")
                raise
            self._end(reply, call, "failed", sentence_of(error))
        else:
            call.told, _ = result_text(call.result, self._count_tokens, self._most_tokens)
            self._change(reply, call, "ran")

    def _allowed(self, reply: Reply, call: FunctionCall, tool: Tool) -> bool:
        """Ask for a call; raise ToolError where nobody can be asked."""
        if self._refusal is not None:
            raise self._refusal
        pending = PendingCall(
            call.id, call.name, dict(call.arguments), tool.function, call.sentence, self.run.stop_flag
        )
        self.run.pending = pending
        self._change(reply, call, "asking")
        try:
            return bool(interruptible(lambda: self._approve(pending), self.run.stop_flag))
        finally:
            self.run.pending = None

    def _ended(self, reply: Reply, call: FunctionCall, *, left_running: bool) -> None:
        if call.state == "asking":
            self._end(reply, call, "refused", _STOPPED)
        elif left_running:
            self._end(reply, call, "failed", f"{_STOPPED}; the function does not return and was left alone")
        else:
            self._end(reply, call, "failed", _STOPPED)

    def _repeated(self, call: FunctionCall) -> bool:
        key = json.dumps([call.name, call.arguments], sort_keys=True)
        self._seen[key] += 1
        return self._seen[key] > MOST_REPEATS

    def _unknown(self, name: str) -> str:
        near = nearest(name, self._tools, 1)
        there = f"did you mean {near[0]}?" if near else f"the functions are: {', '.join(self._tools)}"
        return f"there is no function {name!r}; {there}"

    def _end(self, reply: Reply, call: FunctionCall, state: Any, error: str) -> None:
        call.error, call.told = error, error_text(error)
        self._change(reply, call, state)

    def _change(self, reply: Reply, call: FunctionCall, state: Any) -> None:
        call.state = state
        publish(CallChanged(reply, call))


def check_rounds(rounds: Any) -> int:
    """Return `rounds` if it is a number of rounds, else raise LlamaError."""
    if isinstance(rounds, bool) or not isinstance(rounds, int) or not 1 <= rounds <= 50:
        raise LlamaError(f"rounds is {rounds!r}.", "It is a number from 1 to 50; 5 by default.")
    return rounds
