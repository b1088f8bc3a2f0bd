"""Reading data: every kind of source, mistakes named by line, duplicates, splits, and what a run keeps."""

import json

import datasets
import pandas as pd
import pyarrow as pa
import pytest

from llama_nb.core.errors import DataError
from llama_nb.core.messages import Message
from llama_nb.tuning.data import Example, TrainingData, load_data, read_data

PAIRS = [{"prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(3)]
TABLE = 'prompt,completion\nWhat is 0?,It is 0.\n"What is 1?",It is 1.\nWhat is 2?,It is 2.'
CALL = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"x": "\u2028"}}}]}
TURNS = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}]


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


def parquet(path):
    pd.DataFrame(PAIRS).to_parquet(path)
    return path


@pytest.mark.parametrize(
    ("name", "content", "second"),
    [
        ("d.jsonl", "\ufeff" + lines(PAIRS[:1]) + "\n" + lines(PAIRS[1:]), "d.jsonl, line 3"),
        ("d.json", json.dumps(PAIRS, indent=1), "d.json, entry 2"),
        ("d.csv", TABLE, "d.csv, line 3"),
        ("d.tsv", TABLE.replace(",", "\t"), "d.tsv, line 3"),
        ("d.parquet", None, "d.parquet, row 1"),
    ],
)  # fmt: skip
def test_files_are_read_with_the_place_of_each_example(tmp_path, name, content, second):
    path = parquet(tmp_path / name) if content is None else write(tmp_path, name, content)
    data = read_data(str(path))
    assert [(e.prompt, e.completion) for e in data.examples] == [
        (r["prompt"], r["completion"]) for r in PAIRS
    ]
    assert data.examples[1].where == second
    assert data.source == name
    assert repr(data) == f"TrainingData(3 prompts with an answer from {name}, format prompt_completion)"
    assert read_data(path).fingerprint == read_data(PAIRS).fingerprint == data.fingerprint


class Chat:
    """What a chat shows to those who train on it."""

    name = "main"

    def to_rows(self):
        return [{"messages": TURNS}]


def test_variables_are_read():
    assert len(read_data(PAIRS)) == 3
    frame = read_data(pd.DataFrame(PAIRS, index=["a", "b", "c"]))
    assert frame.examples[1] == Example(
        "pair", prompt="What is 1?", completion="It is 1.", where="data, row b"
    )
    assert read_data(pd.Series(["x", "y"])).kind == "text"
    assert read_data(["x", "y"], name="texts").examples[1].where == "texts[1]"
    assert read_data([TURNS, TURNS]).kind == "chat"
    assert read_data([[Message("user", "Hi?"), Message("assistant", "Hello.")]]).examples == (
        Example("chat", (Message("user", "Hi?"), Message("assistant", "Hello.")), where="data[0]"),
    )
    assert read_data(row for row in PAIRS).source == "a generator"
    made = datasets.Dataset.from_list([{"messages": TURNS}] * 2)
    assert read_data(made).source == "a Dataset"
    assert len(read_data(made)) == 2
    assert read_data(pa.Table.from_pylist(PAIRS)).examples[2].where == "data[2]"
    assert read_data(Chat()).source == "the chat main"
    assert [e.where for e in read_data([Chat(), Chat()]).examples] == [
        "data[0], conversation 1", "data[1], conversation 1"
    ]  # fmt: skip
    data = read_data(PAIRS)
    assert read_data(data) is data


def test_missing_values_of_tables_are_empty_answers():
    answers = ["a", None, float("nan"), pd.NA]
    frame = pd.DataFrame({"prompt": list("xyzw"), "completion": pd.Series(answers, dtype=object)})
    data = read_data(frame)
    assert [example.completion for example in data.examples] == ["a", "", "", ""]
    assert any(
        "Empty answers, which teach nothing: 3 of 4 examples, first data, row 1" in n for n in data.notes
    )


@pytest.mark.parametrize("separator", [";", "\t"])
def test_tables_of_spreadsheets_are_read(tmp_path, separator):
    text = TABLE.replace(",", separator).replace("It is 0.", '"It is; 0,0\t"')
    data = read_data(write(tmp_path, "d.csv", text))
    assert [example.completion for example in data.examples] == ["It is; 0,0\t", "It is 1.", "It is 2."]


def test_lists_in_tables_are_conversations():
    import numpy as np

    frame = pd.DataFrame({"messages": [np.array(TURNS, dtype=object)]})
    assert read_data(frame).examples[0].messages[1].content == "Hello."


def test_duplicates_are_counted():
    data = read_data([*PAIRS, PAIRS[1], PAIRS[1]])
    assert any(note == "Repeated: 2 of 5 examples; data[1] is there 3 times." for note in data.notes)


BROKEN = [
    ("d.jsonl", lines(PAIRS * 5) + '{"prompt": "x", "completion": y}\n',
     r"d.jsonl, line 16, column 31: Expecting value; there is 'y}'"),
    ("d.jsonl", lines(PAIRS) + "3\n", "d.jsonl, line 4: the record is a number"),
    ("d.jsonl", lines(PAIRS) + "[]\n", "d.jsonl, line 4: the record is a list"),
    ("d.jsonl", lines(PAIRS) + '{"prompt": "x"}\n', r"d.jsonl, line 4: the record has the fields prompt;"),
    ("d.jsonl", lines(PAIRS * 10) + '{"prompt": "x"}\n', "d.jsonl, line 31: there is no 'completion'"),
    ("d.jsonl", "", "d.jsonl is empty"),
    ("d.jsonl", " \n\n", "d.jsonl is empty"),
    ("d.jsonl", "caf\u00e9".encode("latin-1"), "d.jsonl is not UTF-8: byte 3 is 0xe9"),
    ("d.jsonl", "[" * 100_000, "d.jsonl, line 1, column 1: "),
    ("d.json", "{}", "d.json holds a JSON object"),
    ("d.json", "[]", "d.json has no examples"),
    ("d.json", "[\n{},\n{]", "d.json, line 3, column 2"),
    ("d.csv", "prompt,completion\n", "d.csv has no examples"),
    ("d.csv", "prompt,answer\na,b\nc,d,e\n", r"d.csv, line 3: 3 fields, expected 2 \(prompt, answer\)"),
    ("d.csv", "prompt,prompt\na,b\n", "d.csv, line 1: there are two columns 'prompt'"),
    ("d.csv", 'prompt,completion\na,"b\n', "d.csv, line 2: unexpected end of data"),
    ("d.csv", "question,reply\na,b\n", r"d.csv, line 2: no format has the fields question, reply"),
    ("d.parquet", "PAR1", "d.parquet is no whole Parquet file"),
    ("d.txt", "x", r"d.txt ends in .txt: data is read from .jsonl"),
    ("d.jsnl", "x", r"ends in .jsnl(.|\n)*d.jsonl"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), BROKEN, ids=range(len(BROKEN)))
def test_mistakes_in_files_are_named_by_line(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read_data(write(tmp_path, name, content))
    assert caught.value.hint


def test_files_that_are_not_there_are_told_beside_the_nearest(tmp_path):
    write(tmp_path, "persona.jsonl", lines(PAIRS))
    with pytest.raises(DataError, match=r"no file .*\n.*persona\.jsonl"):
        read_data(tmp_path / "persna.jsonl")
    with pytest.raises(DataError, match="no file 'persona'"):
        read_data("persona")
    with pytest.raises(DataError, match=r"no folder 'tatsu-lab'(.|\n)*load_dataset\(.tatsu-lab/alpaca"):
        read_data("tatsu-lab/alpaca")
    with pytest.raises(DataError, match="no folder"):
        read_data(tmp_path / "nowhere" / "persona.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DataError, match=r"is a folder.*\n.*persona\.jsonl"):
        read_data(tmp_path / "folder.jsonl")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"train": PAIRS, "test": PAIRS}, r"data is a dict with train, test in it.*\n.*data\['train'\]"),
        (3, "data is a int"),
        (None, "data is a NoneType"),
        ([], "a list has no examples"),
        ([None], r"data\[0\]: the record is null"),
        (b"x", "data is a bytes"),
        (pd.DataFrame([[1, 2]], columns=["text", "text"]), "data has two columns 'text'"),
    ],
)
def test_values_that_are_no_data_are_refused(value, message):
    with pytest.raises(DataError, match=message):
        read_data(value)


def many(count, different=None):
    return read_data([{"text": f"text {n % (different or count)}"} for n in range(count)])


def test_a_split_takes_a_share_by_seed_and_leaves_the_rest():
    data = many(200)
    train, held = data.split(0.05, seed=1)
    assert (len(train), len(held)) == (190, 10)
    assert {*train.examples} | {*held.examples} == {*data.examples}
    places = [int(example.where[5:-1]) for example in train.examples]
    assert places == sorted(places)
    assert data.split(0.05, seed=1)[1].fingerprint == held.fingerprint
    assert data.split(0.05, seed=2)[1].fingerprint != held.fingerprint
    assert len(data.split(30)[1]) == 30
    assert len(data.split(0)[1]) == 0
    assert len(many(9).split(0.05)[1]) == 0
    assert len(many(10).split(0.05)[1]) == 1


def test_what_is_validated_is_never_trained():
    train, held = many(200, different=20).split(0.1)
    assert len(held) == 20
    assert not {e.content for e in train.examples} & {e.content for e in held.examples}


def test_a_split_that_leaves_nothing_is_refused():
    with pytest.raises(DataError, match=r"validation=5 takes all of 5 examples"):
        many(5).split(5)
    with pytest.raises(DataError, match=r"takes all of 5 examples(.|\n)*never parted"):
        many(5, different=1).split(2)
    assert len(many(50, different=1).split(0.05)[1]) == 0
    assert len(many(50, different=5).split(0.05)[1]) == 10
    with pytest.raises(DataError, match="validation is -1"):
        many(5).split(-1)


def test_what_is_saved_is_read_again(tmp_path):
    records = [
        {"messages": [TURNS[0], CALL, {"role": "tool", "content": "2"}, {**TURNS[1], "weight": 0}],
         "tools": [{"type": "function"}]},
        {"messages": TURNS},
    ]  # fmt: skip
    for source in (records, PAIRS, ["x", ""], [{"prompt": "p", "chosen": "c", "rejected": "r"}]):
        data = read_data(source)
        data.save(tmp_path / "train.jsonl")
        again = load_data(tmp_path / "train.jsonl", format=data.format, source=data.source)
        assert again.examples == data.examples
        assert again.fingerprint == data.fingerprint
        assert repr(again) == repr(data)
    TrainingData((), "text", "x").save(tmp_path / "validation.jsonl")
    assert len(load_data(tmp_path / "validation.jsonl")) == 0


@pytest.mark.parametrize(
    "line",
    ['{"kind": "poem"}', "3", '{"kind": "text", "completion": 3}', '{"kind": "chat", "messages": [3]}',
     '{"kind": "chat", "untrained": ["x"]}', '{"kind": "text"'],
)  # fmt: skip
def test_a_saved_file_that_was_damaged_is_named_by_line(tmp_path, line):
    path = write(tmp_path, "train.jsonl", '{"kind": "text", "completion": "x"}\n' + line + "\n")
    with pytest.raises(DataError, match=r"train.jsonl, line 2"):
        load_data(path)
