"""`Model.batch` and the file of its results: what is computed, what is kept, and what is refused."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from llama_nb.core.errors import BatchError, MessageError, SamplingError
from llama_nb.core.events import Event, Note, Progress, subscribe
from llama_nb.core.stop import StopFlag
from llama_nb.session import registry
from llama_nb.session.model import Model

GREEDY = {"temperature": 0, "max_tokens": 12}
STARTS = ["Once upon a time", "The dog", "Lily saw a big", "One day", "Tom and Sue were"]


@pytest.fixture(scope="module")
def stories(stories260k: Path) -> Iterator[Model]:
    torch.set_num_threads(1)
    model = registry.load(stories260k, name="batch-stories", device="cpu")
    yield model
    model.unload(force=True)


@pytest.fixture
def seen() -> Iterator[list[Event]]:
    log: list[Event] = []
    unsubscribe = subscribe(log.append)
    yield log
    unsubscribe()


def stop_after(rows: int) -> tuple[StopFlag, Any]:
    """Return a flag that is set once so many rows are done, and what ends the watching."""
    flag = StopFlag()

    def watch(event: Event) -> None:
        if isinstance(event, Progress) and event.done >= rows:
            flag.set("enough")

    return flag, subscribe(watch)


def test_replies_are_those_of_one_at_a_time(stories: Model, seen: list[Event]) -> None:
    result = stories.batch(STARTS, **GREEDY)
    assert result.replies == [stories.complete(text, **GREEDY).text for text in STARTS]
    assert [row.finish for row in result.rows] == ["length"] * 5
    assert result.tokens_per_s
    assert result.computed_tokens == 60
    frame = result.to_frame()
    assert list(frame.columns) == ["prompt", "reply", "finish", "tokens", "seed", "error"]
    assert list(frame["prompt"]) == STARTS
    steps = [event for event in seen if isinstance(event, Progress)]
    assert [step.done for step in steps] == [0, 1, 2, 3, 4, 5, 5]
    assert steps[-1].ended
    assert "tokens/s" in steps[-1].detail


def test_a_series_keeps_its_index_and_empty_cells_are_errors(stories: Model) -> None:
    column = pd.Series(["The dog", None, float("nan"), "  ", pd.NA, 7], index=list("abcdef"))
    result = stories.batch(column, **GREEDY)
    assert list(result.errors) == [1, 2, 4]
    assert "empty" in result.errors[1]
    frame = result.to_frame()
    assert list(frame.index) == list("abcdef")
    assert frame.loc["f", "prompt"] == "7"
    assert frame.loc["b", "finish"] == "error"


def test_a_row_that_is_too_long_is_its_own_error(stories: Model) -> None:
    result = stories.batch(["The dog", "word " * 2000, "One day"], **GREEDY)
    assert list(result.errors) == [1]
    assert "512" in result.errors[1]
    assert result.replies[0]
    assert result.replies[2]


@pytest.mark.parametrize(
    ("prompts", "says"),
    [
        ("one text", "many prompts"),
        ([], "empty"),
        (7, "many prompts"),
        (pd.DataFrame({"q": ["a"]}), "one column"),
    ],
)
def test_what_is_no_list_of_prompts_is_refused(stories: Model, prompts: Any, says: str) -> None:
    with pytest.raises(MessageError, match=says):
        stories.batch(prompts)


def test_options_are_checked(stories: Model) -> None:
    with pytest.raises(SamplingError, match="temprature"):
        stories.batch(["a"], temprature=0)
    with pytest.raises(BatchError, match="batch_size is 0"):
        stories.batch(["a"], batch_size=0)


def test_a_stopped_batch_goes_on_where_it_was(stories: Model, tmp_path: Path, seen: list[Event]) -> None:
    out = tmp_path / "results.jsonl"
    flag, unsubscribe = stop_after(2)
    stopped = stories.batch(STARTS, out=out, batch_size=1, stop=flag, **GREEDY)
    unsubscribe()
    assert stopped.stopped
    assert 0 < stopped.missing < 5
    assert stopped.missing == stopped.replies.count(None)
    kept = out.read_bytes()
    assert kept.count(b"\n") == 5 - stopped.missing
    assert stat.S_IMODE(out.stat().st_mode) == 0o600

    whole = stories.batch(STARTS, out=out, **GREEDY)
    assert out.read_bytes().startswith(kept)
    assert whole.restored == 5 - stopped.missing
    assert whole.replies == stories.batch(STARTS, **GREEDY).replies
    assert any(isinstance(event, Note) and "already" in event.text for event in seen)

    again = stories.batch(STARTS, out=out, **GREEDY)
    assert (again.restored, again.computed_tokens, again.tokens_per_s) == (5, 0, None)
    assert again.replies == whole.replies
    more = stories.batch([*STARTS, "The end"], out=out, **GREEDY)
    assert (more.restored, more.replies[:5]) == (5, whole.replies)


def test_half_a_line_costs_that_row(stories: Model, tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    whole = stories.batch(STARTS, out=out, **GREEDY)
    out.write_bytes(out.read_bytes()[:-30])
    again = stories.batch(STARTS, out=out, **GREEDY)
    assert (again.restored, again.replies) == (4, whole.replies)
    assert stories.batch(STARTS, out=out, **GREEDY).restored == 5


def test_rows_that_failed_are_tried_again(stories: Model, tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    prompts = ["The dog", "word " * 2000, None]
    stories.batch(prompts, out=out, **GREEDY)
    reasons = [json.loads(line)["error"] for line in out.read_text("utf-8").splitlines()]
    assert sum(bool(reason) for reason in reasons) == 2
    assert stories.batch(prompts, out=out, **GREEDY).restored == 1


def test_a_file_of_something_else_is_refused_and_stays(stories: Model, tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    stories.batch(STARTS, out=out, **GREEDY)
    kept = out.read_bytes()
    for options, prompts, says in (
        ({"temperature": 0, "max_tokens": 9}, STARTS, "other sampling"),
        (GREEDY, ["Another", *STARTS], r"row \d asks something else"),
    ):
        with pytest.raises(BatchError, match=says) as caught:
            stories.batch(prompts, out=out, **options)
        assert "overwrite" in caught.value.hint
    lines = [json.loads(line) for line in kept.splitlines()]
    out.write_text("".join(json.dumps({**line, "model": "0" * 16}) + "\n" for line in lines))
    with pytest.raises(BatchError, match="another model"):
        stories.batch(STARTS, out=out, **GREEDY)
    replaced = stories.batch(["Another"], out=out, overwrite=True, **GREEDY)
    assert replaced.restored == 0
    assert len(out.read_text("utf-8").splitlines()) == 1


@pytest.mark.parametrize("content", ["hello\n", '{"a": 1}\n', "[1]\n", '{"schema": 1, "row": "x"}\n'])
def test_a_file_that_is_no_result_is_never_written_to(stories: Model, tmp_path: Path, content: str) -> None:
    out = tmp_path / "notes.txt"
    out.write_text(content, encoding="utf-8")
    with pytest.raises(BatchError, match="line 1"):
        stories.batch(STARTS, out=out, **GREEDY)
    assert out.read_text("utf-8") == content


def test_a_missing_folder_is_named_before_anything_is_computed(stories: Model, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    with pytest.raises(BatchError, match="does not exist") as caught:
        stories.batch(STARTS, out=tmp_path / "result" / "a.jsonl", **GREEDY)
    assert "'results'" in caught.value.hint
    with pytest.raises(BatchError, match="folder or a link"):
        stories.batch(STARTS, out=tmp_path, **GREEDY)


def test_with_a_seed_rows_are_those_of_one_at_a_time(stories: Model, seen: list[Event]) -> None:
    options = {"temperature": 1, "seed": 5, "max_tokens": 8}
    result = stories.batch(STARTS[:2], **options)
    assert result.replies == [stories.complete(text, **options).text for text in STARTS[:2]]
    assert any(isinstance(event, Note) and "one at a time" in event.text for event in seen)


def test_what_is_shown_has_no_rate_where_nobody_watches(
    stories: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llama_nb.render.batch import bundle

    out = tmp_path / "secret-place.jsonl"
    stories.batch(STARTS[:2], out=out, **GREEDY)
    result = stories.batch([*STARTS, "<script>x</script>", None], out=out, **GREEDY)
    unwatched, watched = bundle(result, watched=False), bundle(result, watched=True)
    assert "6 of 7 rows answered, 1 failed" in unwatched["text/plain"]
    assert "2 rows were in the file of results already" in unwatched["text/plain"]
    assert "2 more" in unwatched["text/plain"]
    for text in unwatched.values():
        assert "tokens/s" not in text
        assert "secret-place" not in text
    assert "tokens/s" in watched["text/plain"]
    assert "secret-place" in watched["text/html"]
    first = bundle(stories.batch(["<script>x</script>"], **GREEDY), watched=False)
    assert "<script" not in first["text/html"]
