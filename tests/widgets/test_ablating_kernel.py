"""A panel in a real kernel, whose page asks while a cell has parts of the model turned off."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel import Kernel
from tests.widgets.test_chat_panel_kernel import Page

CELL = """
import asyncio
with m.ablate("5.attn", "0.3"):
    inside = m.complete("Once upon a time, Ida", temperature=0, max_tokens=8)
    waiting = m.chat("Tell me a story.", chat="cell", background=True, temperature=0, max_tokens=60)
    await asyncio.sleep(1.5)
    late = m.complete("Once upon a time, Ida", temperature=0, max_tokens=8)
"""


@pytest.fixture(scope="module")
def kernel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    folder = tmp_path_factory.mktemp("kernel")
    with Kernel(environment={"PYTHONPATH": str(root), "LLAMA_NB_CHATS": "off"}, cwd=folder) as running:
        running.ok("%load_ext llama_nb\nimport llama_nb\n%llama load cria\nm = llama_nb.current()")
        yield running


def test_the_page_is_answered_by_the_whole_model_while_a_cell_has_parts_off(kernel: Kernel) -> None:
    page = Page(kernel)
    cell = kernel.submit(CELL)
    kernel.until(lambda: bool(cell.messages), 30)
    page.say("send", text="Hello")
    kernel.wait(cell)
    page.idle(2)
    assert page.steps()[-1]["notes"] == []
    kernel.ok("waiting.wait(60)\nafter = m.complete('Once upon a time, Ida', temperature=0, max_tokens=8)")
    off = ["While this was written: L5 attention, L0 H3 off."]
    notes = "[reply.notes for reply in (inside, late, waiting, after)]"
    assert kernel.evaluate(notes) == [off, off, off, []]
    assert kernel.evaluate("inside.text == late.text != after.text")
