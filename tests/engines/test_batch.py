"""A batch's rows are what each request gives alone, whatever goes on beside them."""

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llama_nb.core.errors import ContextOverflow, EngineError, MessageError
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.engines.base import RowEvent
from llama_nb.engines.batch import Waiting
from llama_nb.engines.slot_cache import SlotCache
from llama_nb.engines.transformers_engine import TransformersEngine
from tests.engines.opening import LILY, ids, open_folder, run, text
from tests.models import write_random_llama

GREEDY = Sampling(temperature=0, max_tokens=24)


@pytest.fixture(scope="module")
def grouped(llama3_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransformersEngine]:
    """A Llama whose heads share keys and values, four to one."""
    folder = tmp_path_factory.mktemp("grouped")
    write_random_llama(folder, tokenizer_from=llama3_tokenizer, heads=8, kv_heads=2, layers=3, seed=5)
    engine = open_folder(folder)
    yield engine
    engine.close()


def rows(events: Iterator[RowEvent]) -> dict[int, list[Any]]:
    found = defaultdict(list)
    for event in events:
        found[event.row].append(event.event)
    return found


def prompts(count: int, longest: int, vocabulary: int) -> list[tuple[int, ...]]:
    draw = random.Random(7)
    lengths = [1, longest, 2, longest - 1, *(draw.randint(1, longest) for _ in range(count))][:count]
    return [tuple(draw.randrange(4, vocabulary) for _ in range(length)) for length in lengths]


def alike(engine: TransformersEngine, asked: list[Request], **options: Any) -> None:
    together = rows(engine.stream_many(asked, StopFlag(), **options))
    assert sorted(together) == list(range(len(asked)))
    for row, request in enumerate(asked):
        alone = list(engine.stream(request, StopFlag()))
        assert ids(together[row]) == ids(alone), row
        assert text(together[row]) == text(alone)
        assert together[row][-1].finish.reason == alone[-1].finish.reason
        assert [event.logprob for event in together[row]] == pytest.approx(
            [event.logprob for event in alone], abs=1e-4
        )


@pytest.mark.parametrize("size", [None, 1, 3])
def test_rows_of_a_real_model_are_the_same_alone(stories: TransformersEngine, size: int | None) -> None:
    asked = [Request(prompt, GREEDY) for prompt in prompts(14, 120, 500)]
    alike(stories, [*asked, Request(LILY, GREEDY), Request("The", GREEDY)], batch_size=size)


def test_rows_with_shared_keys_are_the_same_alone(grouped: TransformersEngine) -> None:
    alike(grouped, [Request(prompt, GREEDY) for prompt in prompts(11, 300, 128_000)], batch_size=4)


def test_rows_end_each_in_its_own_way(stories: TransformersEngine) -> None:
    full = tuple(random.Random(1).choices(range(4, 500), k=stories.context - 5))
    asked = [
        Request(LILY, Sampling(temperature=0, max_tokens=3)),
        Request(LILY, Sampling(temperature=0, max_tokens=60, stop=("park", "mom"))),
        Request(full, Sampling(temperature=0)),
        Request("Once", Sampling(temperature=0, max_tokens=200)),
        Request(LILY, Sampling(temperature=0, max_tokens=30, repetition_penalty=1.5)),
    ]
    alike(stories, asked, batch_size=3)


def test_messages_have_their_template(cria_like: TransformersEngine) -> None:
    asked = [Request((Message("user", word * 9),), GREEDY) for word in ("one ", "two three ", "x")]
    alike(cria_like, asked)


def test_prompts_read_in_many_chunks_are_the_same(
    stories: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llama_nb.engines.decoding._clamp", lambda size: 16)
    monkeypatch.setattr(stories._forward, "_chunk", 16)
    alike(stories, [Request(prompt, GREEDY) for prompt in prompts(6, 90, 500)], batch_size=4)


def test_a_seeded_row_runs_alone_and_is_the_same(
    stories: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded = Request(LILY, Sampling(temperature=1, max_tokens=20, seed=3))
    width = []
    alone = ids(list(stories.stream(seeded, StopFlag())))
    monkeypatch.setattr(
        "llama_nb.engines.transformers_engine.Waiting",
        lambda row, job, need: width.append(row) or Waiting(row, job, need),
    )
    found = rows(stories.stream_many([seeded, Request(LILY, GREEDY), seeded], StopFlag()))
    assert width == [1]
    assert ids(found[0]) == ids(found[2]) == alone


def test_rows_without_a_seed_draw_their_own(stories: TransformersEngine) -> None:
    asked = [Request(LILY, Sampling(temperature=1, max_tokens=20)) for _ in range(4)]
    found = rows(stories.stream_many(asked, StopFlag()))
    assert len({tuple(ids(events)) for events in found.values()}) > 1
    assert len({events[-1].finish.seed for events in found.values()}) == 4


def test_an_error_is_its_own_rows(stories: TransformersEngine) -> None:
    long = tuple(range(4, 4 + 200)) * 3
    asked = [Request(LILY, GREEDY), Request(long, GREEDY), Request((), GREEDY), Request("The", GREEDY)]
    events = list(stories.stream_many(asked, StopFlag()))
    errors = {event.row: event.error for event in events if event.error is not None}
    assert isinstance(errors[1], ContextOverflow)
    assert isinstance(errors[2], MessageError)
    assert set(errors) == {1, 2}
    assert ids(rows(iter(events))[3]) == ids(run(stories, "The", temperature=0, max_tokens=24))


def test_nan_ends_its_row_and_spoils_no_other(grouped: TransformersEngine) -> None:
    weights = grouped._module.get_input_embeddings().weight
    asked = [Request((9, 10, 11) * (1 + row), GREEDY) for row in range(4)]
    bad = Request((9, 77, 9), GREEDY)
    clean = [ids(list(grouped.stream(request, StopFlag()))) for request in asked]
    before = weights.data[77].clone()
    weights.data[77] = float("nan")
    try:
        events = list(grouped.stream_many([asked[0], bad, *asked[1:]], StopFlag(), batch_size=2))
    finally:
        weights.data[77] = before
    errors = [event for event in events if event.error is not None]
    assert [event.row for event in errors] == [1]
    assert isinstance(errors[0].error, EngineError)
    assert "the embedding" in str(errors[0].error)
    assert errors[0].event.finish is not None
    assert errors[0].event.finish.reason == "error"
    found = rows(iter(events))
    assert [ids(found[row]) for row in (0, 2, 3, 4)] == clean


def test_a_stop_ends_every_row_within_a_token(stories: TransformersEngine) -> None:
    flag = StopFlag()
    asked = [Request(LILY, Sampling(temperature=0, max_tokens=150)) for _ in range(6)]
    events = []
    for event in stories.stream_many(asked, flag, batch_size=3):
        events.append(event)
        if len(events) == 12:
            flag.set("enough")
    ended = [event for event in events if event.event.finish is not None]
    assert {event.row for event in ended} == {0, 1, 2}
    assert all(event.event.finish.reason == "stopped" for event in ended)  # type: ignore[union-attr]
    assert stories.busy() is None
    assert ids(run(stories, LILY, temperature=0, max_tokens=3))


def test_a_stop_before_it_began_yields_nothing(stories: TransformersEngine) -> None:
    flag = StopFlag()
    flag.set("before")
    assert list(stories.stream_many([Request(LILY, GREEDY)], flag)) == []
    assert list(stories.stream_many([], StopFlag())) == []


def test_memory_bounds_the_rows(stories: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    most = []
    real = SlotCache.enter
    monkeypatch.setattr(
        SlotCache, "enter", lambda self, n, width: (most.append(self.rows + n), real(self, n, width))[1]
    )
    monkeypatch.setattr(TransformersEngine, "_cache_tokens", lambda self: 100)
    alike(stories, [Request("The", GREEDY) for _ in range(9)])
    assert max(most) == 100 // (24 + len(stories.prompt(Request("The")).ids))
    monkeypatch.setattr(TransformersEngine, "_cache_tokens", lambda self: 1)
    alike(stories, [Request("The", GREEDY), Request(LILY, GREEDY)])


def test_a_chats_cache_stays_as_it_is(stories: TransformersEngine) -> None:
    run(stories, LILY, key="batch-chat", temperature=0, max_tokens=8)
    held = stories.cached_tokens("batch-chat", stories.prompt(Request(LILY)).ids)
    list(stories.stream_many([Request("The", GREEDY, cache_key="batch-chat")], StopFlag()))
    assert stories.cached_tokens("batch-chat", stories.prompt(Request(LILY)).ids) == held > 0


def test_other_models_run_one_at_a_time(stories: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_nb.engines.transformers_engine.batchable", lambda *_: False)
    alike(stories, [Request("The", GREEDY), Request(LILY, GREEDY)])
