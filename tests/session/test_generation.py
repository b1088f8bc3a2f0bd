"""How a reply comes about: events, threads, interrupts, tasks, and who waits for whom."""

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from llama_nb.core import events
from llama_nb.core.errors import EngineError, MessageError, ModelBusy, ModelGone
from llama_nb.session.reply import Reply
from tests.session.fakes import FakeEngine, fake_model

LONG = [f" w{number}" for number in range(200)]


@pytest.fixture
def seen() -> Iterator[list[events.Event]]:
    log: list[events.Event] = []
    unsubscribe = events.subscribe(log.append)
    yield log
    unsubscribe()


def kinds(log: list[events.Event]) -> list[str]:
    return [type(event).__name__ for event in log if not isinstance(event, events.ChatChanged)]


def slow(pace_s: float = 0.01) -> FakeEngine:
    return FakeEngine(rule=lambda request: LONG, pace_s=pace_s)


def wait_for_tokens(reply: Reply, count: int = 3) -> None:
    deadline = time.monotonic() + 5
    while len(reply.tokens) < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_reply_is_announced_advanced_and_ended(seen: list[events.Event]) -> None:
    reply = fake_model().chat("hello")
    assert kinds(seen) == ["ReplyStarted"] + ["ReplyAdvanced"] * 5 + ["ReplyEnded"]
    assert (
        "".join(event.token.text for event in seen if isinstance(event, events.ReplyAdvanced)) == reply.text
    )
    assert reply.finish is not None
    assert (reply.finish.reason, reply.done, reply.error) == ("end", True, None)
    assert reply.logprobs == [-0.5] * 4
    assert reply.seed == 7


def test_what_is_refused_is_not_announced(seen: list[events.Event]) -> None:
    with pytest.raises(MessageError):
        fake_model().chat(" ")
    assert seen == []


def test_an_error_in_the_engine_ends_the_reply(seen: list[events.Event]) -> None:
    with pytest.raises(EngineError, match="NaN"):
        fake_model(FakeEngine(failure=EngineError("logits are NaN"))).chat("hello")
    assert kinds(seen) == ["ReplyStarted", "ReplyEnded"]
    assert isinstance(seen[-1], events.ReplyEnded)
    reply = seen[-1].reply
    assert (reply.finish.reason, reply.finish.detail) == ("error", "logits are NaN")
    with pytest.raises(EngineError):
        reply.wait()


def test_an_observer_that_fails_harms_nothing() -> None:
    def broken(event: events.Event) -> None:
        raise RuntimeError("view")

    unsubscribe = events.subscribe(broken)
    try:
        assert fake_model().chat("hello").text == "You said: hello (1)"
    finally:
        unsubscribe()


def test_a_background_reply_is_there_at_once(seen: list[events.Event]) -> None:
    engine = slow()
    m = fake_model(engine)
    reply = m.chat("go", background=True)
    assert kinds(seen)[0] == "ReplyStarted"
    assert not reply.done
    assert m.active == (reply,)
    wait_for_tokens(reply)
    reply.stop()
    assert reply.wait(5).finish is not None
    assert reply.finish is not None
    assert reply.finish.reason == "stopped"
    assert m.active == ()
    assert m.chats["main"].head == reply.id
    assert repr(reply).startswith("Reply(' w0 w1")


def test_errors_known_at_once_are_raised_in_the_background_too() -> None:
    m = fake_model(FakeEngine(context=10))
    with pytest.raises(Exception, match="context"):
        m.chat("word " * 20, background=True)
    assert m.active == ()
    assert not m.chats["main"].turn.held


def test_a_background_reply_tells_its_error_when_waited_for() -> None:
    reply = fake_model(FakeEngine(failure=EngineError("late"), fail_at=1)).chat("hello", background=True)
    with pytest.raises(EngineError, match="late"):
        reply.wait(5)
    assert reply.text == "You"


def test_the_second_message_waits_for_the_first_reply(seen: list[events.Event]) -> None:
    engine = slow(0.002)
    m = fake_model(engine)
    first = m.chat("one", background=True)
    second = m.chat("two", background=True)
    assert isinstance(seen[-1], events.Waiting | events.ReplyAdvanced)
    assert [event.waits_for for event in seen if isinstance(event, events.Waiting)][:1] == [
        "chat main on fake"
    ]
    wait_for_tokens(first)
    first.stop()
    second.stop_flag.wait(0)
    wait_for_tokens(second)
    second.stop()
    second.wait(5)
    assert [message.role for message in m.chats["main"].messages()] == ["user", "assistant"] * 2
    assert second.parent == first.id


def test_a_waiting_reply_can_be_stopped() -> None:
    m = fake_model(slow())
    first = m.chat("one", background=True)
    second = m.chat("two", background=True)
    second.stop()
    assert second.wait(5).text == ""
    assert second.finish is not None
    assert second.finish.reason == "stopped"
    first.stop()
    first.wait(5)
    assert m.chats["main"].turn_count() == 1


def test_another_chat_says_what_it_waits_for(seen: list[events.Event]) -> None:
    m = fake_model(slow(0.002))
    first = m.chat("one", background=True)
    wait_for_tokens(first)
    second = m.chat("two", chat="b", background=True)
    time.sleep(0.05)
    assert [event.waits_for for event in seen if isinstance(event, events.Waiting)] == ["chat main on fake"]
    assert m.stop() == 2
    first.wait(5)
    second.wait(5)


def test_a_stream_left_open_does_not_block_its_own_thread() -> None:
    m = fake_model(slow(0.001))
    stream = m.stream("one")
    next(stream)
    reply = m.chat("two", max_tokens=2)
    assert stream.reply.finish is not None
    assert stream.reply.finish.reason == "stopped"
    assert reply.parent == stream.reply.id


def test_an_open_stream_of_this_thread_does_not_hold_up_an_unload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_nb.loading.weights.release", lambda loaded: 4000)
    m = fake_model(slow(0.001))
    stream = m.stream([{"role": "user", "content": "x"}])
    next(stream)
    began = time.monotonic()
    m.unload(force=True)
    assert time.monotonic() - began < 9  # unload waits 10 s for a reply that does not end
    assert stream.reply.done


def test_a_stream_that_is_forgotten_ends() -> None:
    m = fake_model(slow(0.001))
    stream = m.stream("one")
    reply = stream.reply
    next(stream)
    del stream
    gc.collect()
    assert reply.finish is not None
    assert not m.chats["main"].turn.held


def test_a_stream_fills_its_reply() -> None:
    stream = fake_model().stream("hello")
    assert "".join(event.text for event in stream) == stream.reply.text == "You said: hello (1)"
    assert stream.reply.finish is not None
    assert stream.reply.finish.reason == "end"


@pytest.mark.parametrize("delay_s", [0.0, 0.002, 0.01, 0.05, 0.11])
def test_an_interrupt_at_any_instant_keeps_the_partial_reply(delay_s: float, late: list[int]) -> None:
    before = signal.getsignal(signal.SIGINT)
    engine = slow(0.002)
    m = fake_model(engine)
    began = threading.Event()
    unsubscribe = events.subscribe(lambda event: began.set())

    def interrupt() -> None:
        began.wait(5)
        time.sleep(delay_s)
        for _ in range(3):  # an impatient user
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    reply = m.chat("go")
    thread.join()
    unsubscribe()
    assert reply.finish is not None
    assert (reply.finish.reason, reply.finish.detail) == ("stopped", "interrupted")
    assert reply.text == "".join(LONG[: len(reply.tokens)])
    assert signal.getsignal(signal.SIGINT) is before
    assert len(late) < 3
    if reply.text:
        assert m.chats["main"].messages()[-1].content == reply.text


def test_the_second_interrupt_in_a_cell_leaves_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter([3, 3, 4])
    monkeypatch.setattr("llama_nb.runtime.cell.number", lambda: next(numbers))
    m = fake_model(slow(0.002))

    def stop(event: events.Event) -> None:
        if isinstance(event, events.ReplyAdvanced) and len(event.reply.tokens) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    unsubscribe = events.subscribe(stop)
    try:
        assert m.chat("one").text
        with pytest.raises(KeyboardInterrupt):
            m.chat("two")
        assert m.chat("in the next cell").text
    finally:
        unsubscribe()
    assert m.chats["main"].turn_count() == 3
    assert m.chats["main"].messages()[3].content


def test_an_interrupt_ends_the_waiting_not_the_background_reply() -> None:
    m = fake_model(slow())
    reply = m.chat("go", background=True)
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the timer must not strike before
        timer.start()
        reply.wait(30)
    assert not reply.done
    reply.stop()
    assert reply.join(5)


def test_threads_with_their_own_chats_get_their_own_answers() -> None:
    m = fake_model(FakeEngine(pace_s=0.001))
    replies: dict[int, Reply] = {}

    def talk(number: int) -> None:
        replies[number] = m.chat(f"I am {number}", chat=f"c{number}")

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert {n: reply.text for n, reply in replies.items()} == {n: f"You said: I am {n} (1)" for n in range(5)}


def test_await_leaves_the_event_loop_free() -> None:
    m = fake_model(FakeEngine(pace_s=0.01))

    async def both() -> tuple[Reply, int]:
        ticks = 0
        task = asyncio.create_task(m.achat("hello"))
        while not task.done():
            await asyncio.sleep(0.002)
            ticks += 1
        return task.result(), ticks

    reply, ticks = asyncio.run(both())
    assert reply.text == "You said: hello (1)"
    assert ticks > 3
    assert asyncio.run(m.acomplete("a b")).text == " and so on"


def test_cancelling_a_task_stops_the_reply_and_keeps_it(seen: list[events.Event]) -> None:
    m = fake_model(slow())

    async def cancelled() -> None:
        task = asyncio.create_task(m.achat("go"))
        await asyncio.sleep(0.08)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert isinstance(seen[-1], events.ReplyEnded)
    assert seen[-1].reply.finish.detail == "cancelled"
    assert m.chats["main"].messages()[-1].content == seen[-1].reply.text


def test_an_awaited_error_is_raised() -> None:
    with pytest.raises(EngineError, match="late"):
        asyncio.run(fake_model(FakeEngine(failure=EngineError("late"))).achat("x"))


def test_what_is_in_use_is_not_unloaded_without_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_nb.loading.weights.release", lambda loaded: 4000)
    m = fake_model(slow())
    reply = m.chat("go", background=True)
    wait_for_tokens(reply)
    with pytest.raises(ModelBusy, match="chat 'main' is being answered"):
        m.unload()
    assert m.alive
    assert m.unload(force=True) == 4100
    assert reply.done
    assert reply.text
    assert repr(m) == "Model('fake', unloaded)"
    for use in (
        lambda: m.chat("x"),
        lambda: m.engine,
        lambda: m.loaded,
        m.unload,
        lambda: m.tokens("x"),
        reply.rerun,
    ):
        with pytest.raises(ModelGone, match=r"%llama load fake"):
            use()
    assert m.bytes == 0
