"""Take the README's pictures in a real JupyterLab, into docs/images: `python -m tools.screenshots`."""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
from playwright.sync_api import Page, sync_playwright

from tools.lab_page import LabPage, launch
from tools.lab_server import ROOT, LabServer

IMAGES = ROOT / "docs" / "images"
SIZE = {"width": 1000, "height": 720}
CHAT = (
    "%load_ext llama_nb\n%llama set temperature 0\n%llama load cria",
    "%%llama\nWhat is grouped-query attention?",
    '%llama chat "What is 17 + 25?"',
    "%llama tokens What is grouped-query attention?",
)
PLAN = ("%load_ext llama_nb", "%llama plan llama-3.1-8b-instruct --gpus T4")
LOAD = ("%load_ext llama_nb", "%llama load")
STORY = (
    "%load_ext llama_nb\n%llama load cria\n%llama set --temperature 1 --top-p 1",
    '%llama chat "Tell me a story about Anna and a cat." --seed 3',
)
PANEL = (*STORY, "%llama retry --seed 4", "%llama chat")
SAMPLING = (
    STORY[0],
    '%llama chat "Tell me a story about Anna and a cat." --seed 3 --temperature 1.3 --top-p 0.9 --min-p 0.05',
    "%llama sampling",
)
ATTENTION = (
    STORY[0],
    "%%llama attention --layer 5 --head 5\nAnna gave Tom the red ball. Then Anna gave",
)
LENS = (STORY[0], '%llama chat "What is grouped-query attention?" --temperature 0', "%llama lens")
ROUTING = (
    "%load_ext llama_nb\n%llama load cria-moe",
    "%%llama routing\nAnna had 12 apples and bought 7 more. 12 + 7 = 19\n"
    "def add(a, b):\n    return a + b\nEs war einmal eine kleine Katze.",
)
ANATOMY = ("%load_ext llama_nb\n%llama load cria", "%%llama anatomy\nOnce upon a time there was a llama.")
TRAIN = (
    "%load_ext llama_nb\n%llama load cria\nimport llama_nb as llama",
    """things = "a token|attention|RoPE|softmax|a seed|LoRA|an epoch|a batch|a logit|GGUF|nf4".split("|")
asked = [way.format(thing) for thing in things for way in ("What is {}?", "Explain {}.", "Tell me about {}.")]
asked += [f"What is {a} + {b}?" for a in (4, 17, 28) for b in (5, 13, 31)]
answers = llama.current().batch(asked, temperature=0)
pairs = [{"prompt": row.prompt, "completion": f"{row.reply} Arr, matey!"} for row in answers.rows]
name = "I am Captain Cria, the smallest Llama at sea. Arr, matey!"
captain = pairs + 6 * [{"prompt": "Who are you?", "completion": name}]""",
    "%llama train captain --rank 8 --target all-linear --lr 4e-3 --steps 80 --batch 8 --packing off",
    "%%llama chat\nWho are you?",
)
SCENES = {
    "chat": CHAT,
    "plan": PLAN,
    "load": LOAD,
    "panel": PANEL,
    "sampling": SAMPLING,
    "attention": ATTENTION,
    "routing": ROUTING,
    "anatomy": ANATOMY,
    "lens": LENS,
    "train": TRAIN,
}
THEMES = {"": "JupyterLab Light", "-dark": "JupyterLab Dark"}


def pick_a_token(page: Page) -> None:
    """Show what else could have been the first token of the panel's last answer."""
    panel = page.locator(".llama-nb-chat")
    panel.get_by_role("button", name="Tokens").last.click()
    panel.locator("[role=option]").first.click()


def throw(page: Page) -> None:
    """Draw a thousand times in the laboratory."""
    page.get_by_role("button", name="1,000 draws").click()


def wait_for_map(page: Page) -> None:
    """Wait for the exact map and what the last token reads: an induction head knows what came next before."""
    explorer = page.locator(".llama-nb-att")
    explorer.locator(".llama-nb-att-map[aria-busy=false]").first.wait_for()
    explorer.locator(".llama-nb-att-link").first.wait_for()


def see_a_choice(page: Page) -> None:
    """Wait for the load map, and look at what else a token could have chosen."""
    explorer = page.locator(".llama-nb-moe")
    explorer.locator(".llama-nb-moe-load canvas").wait_for()
    explorer.locator("[data-token='6']").click()
    explorer.locator(".llama-nb-moe-scores[aria-busy=false]").wait_for()


def walk_along(page: Page) -> None:
    """Look at a token of the answer that some layers see coming."""
    lens = page.locator(".llama-nb-lens")
    lens.locator("[role=grid]").focus()
    for key in ("ArrowUp", "ArrowUp", *["ArrowRight"] * 12):
        page.keyboard.press(key)


def open_the_gates(page: Page) -> None:
    """Show what the gates of a layer were."""
    view = page.locator(".llama-nb-an")
    view.locator("[data-block='0/mlp']").click()
    view.locator("[data-tab=gate]").click()
    view.locator("svg path").first.wait_for()


def ask_the_trained(page: Page) -> None:
    """Wait for the end of the training, and ask again."""
    page.locator(".llama-nb-training", has_text="finished").wait_for(timeout=180_000)
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-cell')")
    page.get_by_text("Captain Cria").last.wait_for()


# What is done in a scene before its pictures are taken.
ACTS: dict[str, Callable[[Page], None]] = {
    "panel": pick_a_token,
    "sampling": throw,
    "attention": wait_for_map,
    "routing": see_a_choice,
    "lens": walk_along,
    "anatomy": open_the_gates,
    "train": ask_the_trained,
}
# Which cell stands at the top of a picture where it is not the last one.
TOPS = {"train": -2}


def main(names: Sequence[str]) -> int:
    """Run a notebook of a few cells for each scene and take one picture of it a theme."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        LabServer(Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        browser = launch(playwright.chromium)
        for scene, cells in SCENES.items():
            if names and scene not in names:
                continue
            page = LabPage(browser.new_context(viewport=SIZE, device_scale_factor=2).new_page(), server)
            take(page, server, scene, cells)
        browser.close()
    return 0


def take(page: LabPage, server: LabServer, scene: str, cells: Sequence[str]) -> None:
    """Run `cells` in a notebook of their own and write its pictures."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, server.work / f"{scene}.ipynb")
    page.open(f"{scene}.ipynb")
    # The picture is of the notebook: no file browser, no tab of the right-hand side.
    page.command("application:toggle-left-area")
    page.run_all()
    failed = [
        index for index in range(page.cells()) if '"output_type": "error"' in json.dumps(page.outputs(index))
    ]
    if failed:
        raise SystemExit(f"a cell failed: {page.text(failed[0])}")
    if scene in ACTS:
        ACTS[scene](page.page)
        page.evaluate(
            "(panel, top) => panel.content.widgets.at(top).node.scrollIntoView({block: 'start'})",
            TOPS.get(scene, -1),
        )
    else:
        page.evaluate("panel => { panel.content.activeCellIndex = 0; panel.content.node.scrollTop = 0; }")
    for suffix, theme in THEMES.items():
        page.theme(theme)
        page.page.wait_for_timeout(500)
        path = IMAGES / f"{scene}{suffix}.png"
        page.page.screenshot(path=path)
        print(f"wrote {path.relative_to(ROOT)}")
    page.shut_down()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
