"""Tokens, prompts, tables, help texts and notes: what they say in text and in HTML."""

from llama_nb.render.html import to_html
from llama_nb.render.markdown import tree
from llama_nb.render.note import note_bundle
from llama_nb.render.prompt import prompt_bundle
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text
from llama_nb.render.tokens import tokens_bundle
from tests.render.html_reader import read

ROWS = [
    {"id": 1, "text": "<|begin_of_text|>", "special": True},
    {"id": 22, "text": "Once", "special": False},
    {"id": 3, "text": " upon", "special": False},
    {"id": 4, "text": "\n", "special": False},
    {"id": 5, "text": "<0xF0>", "special": False},
]
VIEW = {
    "text": "<|begin_of_text|>Once upon\n",
    "tokens": ROWS,
    "messages": [{"role": "user", "tokens": 3}, {"role": "answer", "tokens": 2}],
    "cached": 2,
    "context": 1024,
}


def test_tokens():
    made = tokens_bundle(ROWS)
    assert made["text/plain"] == "5 tokens: <|begin_of_text|>|Once|\u00b7upon|\u23ce|<0xF0>"
    shown = read(made["text/html"])
    assert shown.faults == []
    for part in ("<|begin_of_text|>", "\u00b7upon", "\u23ce", "22"):
        assert part in shown.text
    assert 'title="id 22"' in made["text/html"]
    assert tokens_bundle(ROWS[1:2])["text/plain"] == "1 token: Once"
    assert tokens_bundle([])["text/plain"] == "0 tokens: "


def test_neighbouring_tokens_differ_by_more_than_colour():
    html = tokens_bundle([{"id": 1, "text": "a"}] * 4)["text/html"]
    assert all(f"2px {style}" in html for style in ("solid", "dashed", "double", "dotted"))


def test_many_tokens_are_shortened_in_the_middle():
    made = tokens_bundle([{"id": number, "text": f"t{number}"} for number in range(100_000)])
    assert len(made["text/html"]) < 700_000
    assert "98,000 more tokens" in made["text/html"]
    assert "t99999" in made["text/html"]
    assert made["text/plain"].count("\n") == 0
    assert len(made["text/plain"]) < 4_000


def test_a_prompt():
    made = prompt_bundle(VIEW)
    assert made["text/plain"] == (
        "5 tokens, 2 of them cached; the context is 1,024\n"
        "  user \u00b7 3 tokens \u00b7 2 cached\n"
        "  the beginning of the answer \u00b7 2 tokens\n"
        "\n<|begin_of_text|>Once upon\n"
    )
    shown = read(made["text/html"])
    assert shown.faults == []
    assert shown.text.count("cached and not computed again") == 1
    assert 'title="id 22"' in made["text/html"]


def test_hostile_tokens_are_text():
    rows = [{"id": 1, "text": "<img src=x onerror=a>\x1b[0m\u202e", "special": True}]
    view = {**VIEW, "text": "<script>", "tokens": rows, "messages": [{"role": "<b>", "tokens": 9}]}
    assert read(tokens_bundle(rows)["text/html"]).faults == []
    assert read(prompt_bundle(view)["text/html"]).faults == []


def test_a_table():
    nodes = [
        table_node(
            ["model", "parameters", "size"], [["cria", 3_200_000, "6.4 MB"], ["\u65e5\u672c", None, "2 GB"]]
        )
    ]
    assert to_text(nodes) == (
        "model  parameters    size\n"
        "-----  ----------  ------\n"
        "cria    3,200,000  6.4 MB\n"
        "\u65e5\u672c                 2 GB"
    )
    assert read(to_html(nodes)).faults == []
    assert to_html(nodes).count("text-align:right") == 6
    assert to_text([table_node(["a"], [])]) == "a\n-"
    assert "<b>" not in to_html([table_node(["<b>"], [["<b>"]])])


def test_markdown_is_laid_out_as_text():
    source = "# Help\n\nLoad *a* model:\n\n```\n%llama load cria\n```\n\n2. a\n   - b\n3. c\n\n> q\n\n---\n"
    assert to_text(tree(source)) == (
        "Help\n====\n\nLoad a model:\n\n    %llama load cria\n\n2. a\n   - b\n3. c\n\n> q\n\n---"
    )
    assert to_text(tree("- a\n\n  b\n\n- ")) == "- a\n  b\n-"


def test_a_note():
    made = note_bundle("No <b>.\x1b[31m")
    assert made["text/plain"] == "No <b>."
    assert read(made["text/html"]).faults == []


def test_html_of_nothing():
    assert to_html([]) == to_text([]) == ""
