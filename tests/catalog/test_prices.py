"""Prices: each with a date and a source, and a user's own file laid over them or refused with its line."""

import json
import re

import pytest

from llama_nb.catalog import catalog
from llama_nb.catalog.gpus import find_gpu
from llama_nb.catalog.prices import ApiPrice, Rent, own_file, prices, write_copy
from llama_nb.catalog.providers import providers
from llama_nb.core.errors import CostError

API = {"provider": "groq", "model": "llama-3.3-70b-instruct", "input": 0.1, "output": 0.2}
RENT = {"provider": "lambda", "gpu": "H100 SXM", "per_hour": 1.5}
SEEN = {"date": "2026-11-01", "source": "the bill"}


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("LLAMA_NB_HOME", str(tmp_path / "own"))
    return tmp_path / "own"


def write(home, value):
    home.mkdir(exist_ok=True)
    path = home / "prices.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value, indent=1), encoding="utf-8")
    return path


def test_every_price_has_a_date_a_source_and_names_that_are_known():
    found = prices()
    assert len(found.api) >= 10
    assert len(found.rents) >= 12
    for row in (*found.api, *found.rents):
        assert re.fullmatch(r"\d{4}(-\d\d(-\d\d)?)?", row.date)
        assert row.source.startswith("https://")
        assert row.provider in {provider.key for provider in providers}
        assert not row.own
    for row in found.api:
        assert catalog.find(row.model) is not None
        assert row.model in providers.find(row.provider).models
        assert 0 < row.input <= row.output < 100
    for row in found.rents:
        assert find_gpu(row.gpu).name == row.gpu
        assert 0.05 < row.per_hour < 50


def test_there_is_one_price_for_each_pair():
    found = prices()
    assert len({(row.provider, row.model) for row in found.api}) == len(found.api)
    assert len({(row.provider, row.gpu) for row in found.rents}) == len(found.rents)


def test_a_row_of_ones_own_replaces_ours_and_a_new_one_is_added(home):
    before = prices()
    write(
        home,
        {"api": [API | SEEN], "rents": [RENT | SEEN, RENT | SEEN | {"provider": "cellar", "gpu": "4090"}]},
    )
    after = prices()
    assert ApiPrice("groq", "llama-3.3-70b-instruct", 0.1, 0.2, **SEEN, own=True) in after.api
    assert Rent("cellar", "RTX 4090", 1.5, **SEEN, own=True) in after.rents
    assert Rent("lambda", "H100 SXM", 1.5, **SEEN, own=True) in after.rents
    assert len(after.api) == len(before.api)
    assert len(after.rents) == len(before.rents) + 1


def test_null_takes_a_row_out(home):
    write(home, {"api": [API | SEEN | {"input": None}], "rents": [RENT | SEEN | {"per_hour": None}]})
    after = prices()
    assert not [row for row in after.api if (row.provider, row.model) == ("groq", API["model"])]
    assert not [row for row in after.rents if (row.provider, row.gpu) == ("lambda", "H100 SXM")]


def test_a_copy_is_written_once_and_changes_nothing(home):
    before = prices()
    assert write_copy()
    assert own_file() == home / "prices.json"
    assert prices() == before
    own_file().write_text('{"api": []}', encoding="utf-8")
    assert not write_copy()
    assert own_file().read_text("utf-8") == '{"api": []}'


def test_a_folder_that_cannot_be_written_is_named(home):
    home.write_text("a file")
    with pytest.raises(CostError, match="own"):
        write_copy()
    home.unlink()
    (home / "prices.json").mkdir(parents=True)
    with pytest.raises(CostError, match="is no file"):
        write_copy()
    with pytest.raises(CostError, match="cannot be read"):
        prices()


ROWS = """{
 "api": [
  {"provider": "groq", "model": "llama-3.3-70b-instruct",
   "input": %s,
   "output": 1, "date": "2026", "source": "x"}
 ]
}"""


@pytest.mark.parametrize("value", ["-1", '"cheap"', "true", "NaN", "Infinity", "1e300", "[1]", "-0.01"])
def test_a_wrong_price_is_named_with_file_line_and_key(home, value):
    path = write(home, ROWS % value)
    with pytest.raises(CostError) as caught:
        prices()
    assert f"{path}, line 4" in str(caught.value)
    assert '"input"' in str(caught.value)
    assert "%llama cost --edit" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "line", "named"),
    [
        ("", 1, "no JSON"),
        ('{\n"api": [\n', 3, "no JSON"),
        ("[]", 1, "object"),
        ("3", 1, "object"),
        ('{\n"apis": []}', 2, "api"),
        ('{\n"api": {}}', 2, "list"),
        ('{\n"api": [\n3]}', 3, "object"),
        ('{"units": {"api": "EUR per token"}}', 1, "EUR per token"),
        ('{"api": [],\n"units": {\n"api": "USD per token"}}', 3, "USD per token"),
        ('{"units": 3}', 1, "units"),
        ('{"sources": []}', 1, "sources"),
        ('{"api": [{"provider": "groq"}]}', 1, "model"),
        (json.dumps({"api": [API | SEEN | {"date": "yesterday"}]}), 1, "yesterday"),
        (json.dumps({"api": [API | SEEN | {"date": "2026-13-01"}]}), 1, "2026-13-01"),
        (json.dumps({"api": [API | SEEN | {"source": " "}]}), 1, "source"),
        (json.dumps({"api": [API | SEEN | {"model": "llama-3.3-70b-instrct"}]}), 1, "llama-3.3-70b-instruct"),
        (json.dumps({"api": [API | SEEN | {"inptu": 1}]}), 1, "input"),
        (json.dumps({"api": [API | SEEN | {"provider": "grok"}]}), 1, "groq"),
        (json.dumps({"rents": [RENT | SEEN | {"gpu": "H1000"}]}), 1, "H1000"),
        ("[" * 100_000, 1, "no JSON"),
        ('{"api": [' + "9" * 5000 + "]}", 1, "no JSON"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(home, text, line, named):
    path = write(home, text)
    with pytest.raises(CostError) as caught:
        prices()
    assert f"{path}, line {line}:" in str(caught.value)
    assert named in str(caught.value)


def test_bytes_that_are_no_text_and_files_without_end_are_refused(home):
    write(home, "{}").write_bytes(b"\xff\xfe{}")
    with pytest.raises(CostError, match="UTF-8"):
        prices()
    write(home, " " * 2_000_001)
    with pytest.raises(CostError, match="2 MB"):
        prices()


def test_an_empty_file_of_ones_own_is_ours(home):
    before = prices()
    write(home, "{}")
    assert prices() == before
