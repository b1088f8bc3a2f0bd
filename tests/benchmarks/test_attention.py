"""How what was seen of explorers and peers becomes rows, and the limits of a peer; all of it small."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks import attention, attention_watch, capture
from benchmarks.attention import Peer
from benchmarks.attention_child import Peak
from benchmarks.attention_lab import Seen
from benchmarks.attention_page import Opened, open_page
from benchmarks.attention_subject import text_of, tokenizer_of, write_model
from benchmarks.attention_watch import Memory, NotFinished, run_child
from tests.conftest import ROOT

READ = {"seconds": 2.0, "memory": 80_000_000, "tokens": 64, "bytes": 5_000_000}
SEEN = Seen(READ, interactive_s=0.5, exact_bytes=400_000, exact_s=0.75, page=20_000_000, kernel=10_000_000)
BUILT = {"forward_s": 1.0, "build_s": 3.0, "memory": 900_000_000, "bytes": 50_000_000}


def test_a_peer_that_drew_is_compared_figure_by_figure():
    rows = attention.rows(64, SEEN, {"bertviz": Peer(BUILT, Opened(50_000_000, 4.0, 600_000_000))})
    found = {row.what.rpartition(": ")[2]: row for row in rows}
    assert found["bytes to the page"].ratio == pytest.approx(0.008)
    assert found["bytes to the page"].met
    assert found["text to page in the kernel"].ratio == pytest.approx(0.5)
    assert found["time to interactive"].ratio == pytest.approx(0.125)
    assert found["memory of the kernel"].ratio == pytest.approx(0.1)
    assert found["memory of the page"].peer == "600 MB"
    assert [row.what for row in rows if "beside" not in row.what] == [
        "T = 64: the whole map exact, from the cell on"
    ]


def test_a_peer_that_did_not_finish_says_how_far_it_came():
    rows = attention.rows(256, SEEN, {"bertviz": Peer(BUILT, "not finished: 100 s")})
    assert rows[0].peer == "50 MB (not finished: 100 s)"
    assert (rows[2].peer, rows[2].ratio) == ("not finished: 100 s", None)
    rows = attention.rows(256, SEEN, {"bertviz": Peer(None, "not finished: 6 GB in the kernel")})
    assert {row.peer for row in rows[:5]} == {"not finished: 6 GB in the kernel"}


def test_budgets_stand_where_they_are_said_for():
    slow = Seen(READ, interactive_s=1.5, exact_bytes=600_000, zoom_s=0.3, zoom_bytes=260_000)
    missed = {tokens: [row.what for row in attention.rows(tokens, slow, {}) if row.met is False]
              for tokens in attention.ALONE}  # fmt: skip
    assert missed[4096] == ["T = 4,096: bytes to the page", "T = 4,096: time to interactive"]
    assert missed[8192] == ["T = 8,192: bytes to the page", "T = 8,192: a zoomed map, from the key on"]
    assert missed[32_768] == ["T = 32,768: bytes to the page"]


def test_a_capture_is_compared_turn_by_turn():
    def one(seconds, memory):
        return {"worked_s": seconds, "anonymous": memory}

    turns = [{"sdpa": one(10.0, 100e6), "capture": one(11.0 + turn, 140e6), "offloaded": one(10.0, 110e6)}
             for turn in range(3)]  # fmt: skip
    time_row, memory_row, *_ = found = capture.rows(turns, one(60.0, 4000e6))
    assert (time_row.ratio, time_row.met) == (pytest.approx(1.2), False)
    assert (memory_row.ratio, memory_row.met) == (pytest.approx(1.4), True)
    assert [row.ratio for row in found[-2:]] == [pytest.approx(6), pytest.approx(40)]
    assert capture.rows(turns, "not finished: 12 GB in the kernel")[-1].ours.startswith("not finished")


def test_texts_have_exactly_as_many_tokens(tmp_path):
    tokenizer = tokenizer_of(write_model(tmp_path, layers=1, width=64))
    for tokens in (64, 1000):
        assert len(tokenizer.encode(text_of(tokenizer, tokens))) == tokens


@pytest.mark.full
def test_a_pass_is_measured_in_a_process_of_its_own(tmp_path):
    folder = write_model(tmp_path, layers=1, width=64)
    text = tmp_path / "text.txt"
    text.write_text(text_of(tokenizer_of(folder), 80), encoding="utf-8")
    case = {"work": "forward", "folder": str(folder), "text": str(text), "way": "capture"}
    found = run_child(case)
    assert set(found) == {"seconds", "worked_s", "memory", "anonymous"}
    assert found["seconds"] > 0
    with pytest.raises(NotFinished, match="0 GB in the kernel"):
        run_child(case, memory=30_000_000)
    with pytest.raises(NotFinished, match="0 s"):
        run_child(case, seconds=0, slack_s=0)


def test_a_page_is_measured_when_it_is_drawn(tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    script = "setTimeout(() => { document.querySelector('#vis').innerHTML = '<svg><line/></svg>' }, 300)"
    page.write_text(f"<body><div id=vis></div><script>{script}</script>", encoding="utf-8")
    opened = _opened(page, tmp_path)
    assert opened.bytes == page.stat().st_size
    assert opened.seconds > 0.3
    monkeypatch.setattr("benchmarks.attention_page.MOST_S", 1)
    page.write_text("<body>", encoding="utf-8")
    with pytest.raises(NotFinished, match="1 s"):
        _opened(page, tmp_path)


def _opened(page: Path, folder: Path) -> Opened:
    """Open a page in a thread: tests of the page that ran before may hold a browser in this one."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(open_page, page, "bertviz", folder).result()


def test_growth_of_memory_is_seen():
    block = bytearray(1)
    with Memory(lambda: [_pid()]) as grown, Peak("RssAnon") as peak:
        time.sleep(0.1)
        block.extend(b"x" * 60_000_000)
        time.sleep(0.2)
    assert grown.grown > 40_000_000
    assert peak.bytes > 60_000_000
    assert attention_watch.resident_of(2**22 + 1) == 0


def _pid() -> int:
    return int(Path("/proc/self").resolve().name)


def test_the_readme_names_what_a_peer_needs():
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert attention.VARIABLE in text
    assert all(name in text for name in attention.PEERS)
