"""When batches go, on a clock that only we move, and the thread that sends them."""

import contextvars
import threading
import time
from itertools import pairwise

import pytest

from llama_nb.widgets.batching import FIRST_S, SLOWEST_S, STEADY_S, Batcher, Pace


def batches(seconds: float, tokens_per_s: float, sending_s: float = 0.0) -> list[float]:
    """The instants at which a reply of this length and speed is sent, by the rule of `Pace` alone."""
    pace, sent, arrival, now = Pace(), [], 0.0, 0.0
    while arrival < seconds:
        now = max(arrival, pace.next, now)
        sent.append(now)
        pace.sent(now, now + sending_s)
        now += sending_s
        arrival = (int(now * tokens_per_s) + 1) / tokens_per_s
    return sent


def test_the_first_token_goes_at_once():
    assert batches(1, 50)[0] == 0.0


def test_never_more_than_30_messages_in_any_second():
    sent = batches(20, 1000)
    assert max(sum(start <= instant < start + 1 for instant in sent) for start in sent) <= 30


def test_a_thousand_tokens_at_50_a_second_leave_room_for_checkpoints():
    assert len(batches(20, 50)) <= 100


def test_slow_tokens_are_not_held_back():
    assert batches(10, 2) == pytest.approx([index / 2 for index in range(20)])


def test_gaps_stay_between_33_and_250_ms():
    gaps = [after - before for before, after in pairwise(batches(10, 10_000))]
    assert min(gaps) >= FIRST_S - 1e-9
    assert max(gaps) <= STEADY_S + 0.01
    slow = batches(10, 10_000, sending_s=0.2)
    assert max(after - before for before, after in pairwise(slow)) <= SLOWEST_S + 0.01


def test_slow_sending_takes_at_most_a_quarter_of_the_time():
    sent = batches(10, 10_000, sending_s=0.05)
    assert len(sent) * 0.05 <= 10 * 0.26


def test_everything_is_sent_once_in_order_from_many_threads():
    got: list[list[tuple[int, int]]] = []
    batcher = Batcher(got.append)
    threads = [
        threading.Thread(target=lambda name=name: [batcher.put((name, index)) for index in range(200)])
        for name in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batcher.close()
    items = [item for batch in got for item in batch]
    assert len(items) == 800
    for name in range(4):
        assert [index for owner, index in items if owner == name] == list(range(200))
    assert len(got) < 100


def test_close_sends_what_is_left_and_waits_for_it():
    got = []
    batcher = Batcher(lambda batch: (time.sleep(0.05), got.extend(batch)))
    batcher.put("a")
    time.sleep(0.02)
    batcher.put("b")
    batcher.close()
    assert got == ["a", "b"]


def test_a_failure_is_told_and_the_next_batch_still_goes(caplog):
    got, failures = [], []

    def send(batch):
        if "bad" in batch:
            raise ValueError("bad batch")
        got.extend(batch)

    batcher = Batcher(send, failures.append)
    batcher.put("bad")
    while not failures:
        time.sleep(0.005)
    batcher.put("good")
    batcher.close()
    assert got == ["good"]
    assert [str(failure) for failure in failures] == ["bad batch"]
    assert "could not be sent" in caplog.text


def test_sends_in_the_context_of_who_made_it():
    cell = contextvars.ContextVar("cell", default="another cell")
    cell.set("this cell")
    seen = []
    batcher = Batcher(lambda _: seen.append(cell.get()))
    cell.set("a later cell")
    batcher.put(1)
    batcher.close()
    assert seen == ["this cell"]
