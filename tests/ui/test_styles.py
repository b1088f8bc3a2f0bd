"""A page holds the styles of every kind of view that was opened on it: none changes how another looks."""

import pytest
from playwright.sync_api import BrowserContext, Page

from llama_nb.widgets.base import STATIC

# Bundle -> the class of its outermost element.
ROOTS = {
    "anatomy": "an", "attention": "att", "chat": "chat", "compare": "compare", "lens": "lens",
    "loader": "loader", "plan": "plan", "routing": "moe", "sampling": "lab", "status_bars": "status-bars",
    "training": "training",
}  # fmt: skip
STYLE = """() => {
    const found = getComputedStyle(document.querySelector("#view"));
    return Object.fromEntries([...found].map((name) => [name, found.getPropertyValue(name)]));
}"""


def looks(page: Page, kind: str, *bundles: str) -> dict[str, str]:
    """Return the computed style of an empty view of a kind, with the styles of `bundles` in their order."""
    page.set_content(f'<div id="view" class="llama-nb-view llama-nb-{ROOTS[kind]}">a</div>')
    for name in bundles:
        page.add_style_tag(content=(STATIC / f"{name}.css").read_text("utf-8"))
    found: dict[str, str] = page.evaluate(STYLE)
    return found


@pytest.mark.parametrize("kind", ROOTS)
def test_views_that_are_opened_later_do_not_change_one(context: BrowserContext, kind: str) -> None:
    page = context.new_page()
    others = [name for name in ROOTS if name != kind]
    alone = looks(page, kind, kind)
    assert looks(page, kind, kind, *others) == alone
    assert looks(page, kind, *others, kind) == alone
    page.close()
