"""Tables for a batch: variables and files, and the line of each mistake."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from llama_nb.core.errors import BatchError
from llama_nb.session.batch_data import find_table, pick_column, read_table

TABLE = pd.DataFrame({"question": ["a", "b"], "answer": [1, 2]})


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("value", "columns"),
    [
        (TABLE, ["question", "answer"]),
        (TABLE["question"], ["question"]),
        (pd.Series(["a"]), ["text"]),
        (["a", "b"], ["text"]),
        ([{"q": "a", "n": 1}, {"q": "b"}], ["q", "n"]),
        ([[{"role": "user", "content": "a"}]], ["text"]),
    ],
)
def test_a_variable_is_a_table(value: Any, columns: list[str]) -> None:
    assert list(find_table("data", {"data": value}).columns) == columns


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("d.csv", 'q,n\n"a, ""b""\nc",007\nNA,\n'),
        ("d.tsv", 'q\tn\n"a, ""b""\nc"\t007\nNA\t\n'),
        ("d.csv", '\ufeffq,n\r\n"a, ""b""\nc",007\r\nNA,\r\n\r\n'),
        ("d.jsonl", '{"q": "a, \\"b\\"\\nc", "n": "007"}\n\n{"q": "NA", "n": null}\n'),
        ("d.json", '[{"q": "a, \\"b\\"\\nc", "n": "007"}, {"q": "NA", "n": null}]'),
    ],
)
def test_texts_stay_as_they_are_written(tmp_path: Path, name: str, text: str) -> None:
    table = read_table(write(tmp_path, name, text))
    assert table.to_dict("list") == {"q": ['a, "b"\nc', "NA"], "n": ["007", None]}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("d.jsonl", '{"q": 1}\n' * 16 + '{"q": broken}\n', "d.jsonl, line 17, column 7"),
        ("d.jsonl", '{"q": 1}\n["a"]\n', "entry 1 is a list"),
        ("d.csv", "q,n\n" + "a,1\n" * 15 + "a,1,2\n", "d.csv, line 17: 3 fields, expected 2"),
        ("d.csv", 'q\n"a\nb"\n"open\n', "d.csv, line"),
        ("d.csv", "q,q\n1,2\n", "two columns 'q'"),
        ("d.csv", "  \n", "is empty"),
        ("d.json", "[1, 2", "d.json, line 1, column 6"),
        ("d.json", '{"a": 1}', "holds a JSON object"),
        ("d.csv", b"q\n\xff\xfe\n", "not UTF-8: byte 2 is 0xff"),
        ("d.xlsx", "x", "ends in .xlsx"),
        ("d", "x", "ends in nothing"),
    ],
)
def test_a_mistake_is_named_by_file_and_line(tmp_path: Path, name: str, text: Any, says: str) -> None:
    with pytest.raises(BatchError, match=says) as caught:
        read_table(write(tmp_path, name, text))
    assert name in caught.value.message


def test_what_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "questions.csv", "q\na\n")
    with pytest.raises(BatchError, match="no file") as caught:
        find_table(str(tmp_path / "question.csv"), {})
    assert "questions.csv" in caught.value.hint
    with pytest.raises(BatchError, match="neither a variable nor a file 'tabel'") as caught:
        find_table("tabel", {"table": TABLE, "_t": TABLE, "other": 3})
    assert "table" in caught.value.hint
    with pytest.raises(BatchError, match="no folder"):
        find_table(str(tmp_path / "no" / "a.csv"), {})
    with pytest.raises(BatchError, match="no data"):
        find_table("", {})
    with pytest.raises(BatchError, match="is a int"):
        find_table("n", {"n": 3})
    with pytest.raises(BatchError, match="has no rows"):
        find_table("t", {"t": TABLE.iloc[:0]})
    with pytest.raises(BatchError, match="has no rows"):
        find_table(str(write(tmp_path, "e.csv", "q,n\n")), {})


def test_a_column_is_chosen() -> None:
    assert list(pick_column(TABLE, "answer", "t")) == [1, 2]
    assert list(pick_column(TABLE[["question"]], None, "t")) == ["a", "b"]
    with pytest.raises(BatchError, match="has 2 columns: question, answer"):
        pick_column(TABLE, None, "t")
    with pytest.raises(BatchError, match="no column 'qestion'") as caught:
        pick_column(TABLE, "qestion", "t")
    assert "Did you mean 'question'?" in caught.value.hint
