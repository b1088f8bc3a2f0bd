"""The built files are those of today's sources, the two sides agree, and nothing in them parses HTML."""

import json
import re
from pathlib import Path

import pytest

from llama_nb.render import nodes
from tools import build_page, traits

SOURCES = [path for path in build_page.sources() if path.suffix in {".ts", ".js", ".mjs"}]
BUILT = [*build_page.STATIC.glob("*.js"), *build_page.PLUGIN.glob("static/*.js")]
# Ways to have text parsed as HTML or run as code.
PARSERS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML"
    r"|\beval\(|new Function\(|srcdoc"
)


def parsers_in(text: str) -> set[str]:
    return set(PARSERS.findall(text))


def test_the_built_files_are_of_todays_sources():
    recorded = build_page.RECORD.read_text().strip()
    assert recorded == build_page.digest(), "the page is stale: run `make page` (python -m tools.build_page)"


def test_the_traits_interface_is_that_of_the_python_traits():
    assert traits.TARGET.read_text() == traits.text(), "run `python -m tools.traits`"


def test_the_page_allows_what_the_renderer_makes():
    source = (build_page.PACKAGE / "widgets" / "nodes.ts").read_text()
    tags = "".join(
        re.findall(r'"([^"]*)"', source[source.index("const TAGS") : source.index("const EMPTY")])[:2]
    )
    assert set(tags.split()) == nodes.TAGS
    classes = re.search(r'CODE_CLASSES = new Set\(\s*"([^"]*)"', source)
    assert classes is not None
    assert tuple(f"ln-{name}" for name in classes[1].split()) == nodes.CODE_CLASSES
    assert f"MAX_DEPTH = {nodes.MAX_DEPTH};" in source


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_source_parses_html(path: Path):
    assert parsers_in(path.read_text()) == set()


@pytest.mark.parametrize("path", BUILT, ids=lambda path: path.name.split(".")[0])
def test_no_built_file_parses_html(path: Path):
    assert parsers_in(path.read_text()) == set()


@pytest.mark.parametrize(
    "planted",
    [
        "el.innerHTML = text",
        "el['outerHTML']=t",
        "e.insertAdjacentHTML('beforeend',t)",
        "document.write(t)",
        "new DOMParser().parseFromString(t,'text/html')",
        "frame.srcdoc=t",
        "range.createContextualFragment(t)",
        "new Function(t)()",
    ],
)
def test_a_planted_parser_is_caught(planted: str):
    built = next(path for path in BUILT if path.name == "reply.js").read_text()
    assert parsers_in(f"{built};{planted}") != set()


def test_no_built_file_names_another_host_or_a_folder_of_ours():
    root = str(build_page.ROOT)
    for path in BUILT:
        hosts = set(re.findall(r"https?://([a-z0-9.-]+)", path.read_text()))
        assert hosts <= {"www.w3.org"}, path.name
        assert root not in path.read_text()


def test_the_lock_names_no_host():
    lock = (build_page.PACKAGE / "package-lock.json").read_text()
    assert "http" not in lock
    assert all(entry.get("integrity") for name, entry in json.loads(lock)["packages"].items() if name)


def test_the_plugin_is_complete():
    package = json.loads((build_page.PLUGIN / "package.json").read_text())
    loaded = build_page.PLUGIN / package["jupyterlab"]["_build"]["load"]
    assert loaded.is_file()
    assert json.loads((build_page.PACKAGE / "install.json").read_text())["packageName"] == "llama-nb"
    versions = json.loads((build_page.PACKAGE / "package.json").read_text())["version"]
    assert package["version"] == versions
