"""The report keeps what was not measured again, and says plainly which budget is not met."""

from pathlib import Path

from benchmarks.__main__ import names
from benchmarks.report import END, START, Row, section, sections, table, write

ROWS = [
    Row("decode", "30 tokens/s", "20 tokens/s", 1.5, ">= 1.0x", True),
    Row("x", "1", "", None, "<= 0", False),
]


def test_a_table_says_what_is_not_met() -> None:
    lines = table(ROWS).splitlines()
    assert lines[2] == "| decode | 30 tokens/s | 20 tokens/s | 1.5x | >= 1.0x | yes |"
    assert lines[3].endswith("| **no** |")


def test_fresh_parts_replace_their_own_and_leave_the_others(tmp_path: Path) -> None:
    report = tmp_path / "README.md"
    report.write_text(f"before\n{START}\n\n{END}\nafter\n", encoding="utf-8")
    write(report, {"b": section("b", "B", ROWS), "a": section("a", "A", ROWS)})
    write(report, {"a": section("a", "A again", ROWS)})
    text = report.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert list(sections(text)) == ["a", "b"]
    assert "### A again" in text
    assert "### A\n" not in text
    write(report, {"a": section("a", "A again", ROWS)})
    assert sections(report.read_text(encoding="utf-8")).keys() == {"a", "b"}


def test_every_benchmark_is_found() -> None:
    assert {"load_ext", "cria_load"} <= set(names())
