"""Bars of memory: the table, the static HTML, the record."""

import re

from llama_nb.render.memory import LOOKS, MemoryUse, Share, memory_html, memory_table
from llama_nb.render.text import to_text

GB = 10**9
RAM = MemoryUse(
    "RAM",
    16 * GB,
    (Share("cria", 2 * GB, "weights"), Share("this Python besides", GB, "overhead"), Share("others", 5 * GB)),
)


def widths(html):
    return [float(found) for found in re.findall(r"height:12px;width:([\d.]+)%", html)]


def test_free_is_what_nobody_takes():
    assert RAM.free == 8 * GB
    assert MemoryUse("RAM", GB, (Share("others", 2 * GB),)).free == 0


def test_the_table_names_who_takes_what():
    text = to_text([memory_table([RAM])])
    assert "cria 2.00 GB, this Python besides 1.00 GB, others 5.00 GB" in text
    assert "8.00 GB" in text
    assert "16.0 GB" in text


def test_the_bars_are_to_scale_and_say_what_they_show():
    html = memory_html([RAM])
    assert widths(html) == [12.5, 6.25, 31.25]
    assert 'role="img"' in html
    assert "8.00 GB of 16.0 GB free" in html
    assert html.count("width:10px") == 3


def test_who_takes_nothing_is_not_drawn():
    html = memory_html([MemoryUse("GPU", GB, (Share("cria", 0, "weights"), Share("others", GB // 2)))])
    assert "cria" not in html
    assert widths(html) == [50.0]


def test_names_are_text():
    html = memory_html([MemoryUse("<img src=x>", GB, (Share("<script>alert(1)</script>", GB // 2),))])
    assert "<img" not in html
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_the_record_is_what_the_page_draws():
    record = RAM.to_record()
    assert record["capacity"] == 16 * GB
    assert [part["look"] for part in record["parts"]] == ["weights", "overhead", "other"]
    assert set(LOOKS) >= {"weights", "overhead"}
