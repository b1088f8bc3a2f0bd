"""The chat panel in a page: what the tests of its files do and look at."""

from playwright.sync_api import Locator

from tools.lab_page import LabPage

SETUP = "%load_ext llama_nb\n%llama load cria\n%llama set temperature 0"
ROOT = ".llama-nb-chat"
READABLE = 4.5  # WCAG AA
THEMES = ("JupyterLab Light", "JupyterLab Dark")


class Chat:
    """A panel in the output of a cell."""

    def __init__(self, page: LabPage, cell: int = 1, number: int = 0) -> None:
        self.lab, self.cell = page, cell
        self.page = page.page
        self.root = self.page.locator(ROOT).nth(number)
        self.root.wait_for()

    def find(self, selector: str) -> Locator:
        """The first element of the panel that matches."""
        return self.root.locator(selector).first

    @property
    def field(self) -> Locator:
        """Where one types."""
        return self.find(".llama-nb-composer textarea")

    @property
    def text(self) -> str:
        """The conversation as it is read."""
        return self.find(".llama-nb-messages").inner_text()

    @property
    def answers(self) -> list[str]:
        """The answers that are seen, the one that is being written too."""
        return [text.strip() for text in self.root.locator(".llama-nb-answer:visible").all_inner_texts()]

    def ask(self, message: str, *, wait: bool = True) -> None:
        """Type a message and send it with Enter."""
        before = len(self.answers)
        self.field.focus()
        self.page.keyboard.type(message)
        self.page.keyboard.press("Enter")
        if wait:
            self.lab.wait_until(lambda: len(self.answers) > before and not self.running(), "an answer")

    def running(self) -> bool:
        """Whether something is being written."""
        return self.find(".llama-nb-halt").is_visible()

    def does(self, name: str, message: int = -1) -> Locator:
        """An action of a message, by the beginning of its name."""
        steps = self.root.locator(".llama-nb-step:visible")
        place = message if message >= 0 else steps.count() + message
        return steps.nth(place).locator(f'[data-does^="{name}"]')

    def open(self, drawer: str) -> Locator:
        """Open a drawer."""
        self.find(f"[data-drawer={drawer}]").click()
        self.find(".llama-nb-drawer").wait_for()
        return self.find(".llama-nb-drawer")

    def wait(self, text: str) -> None:
        """Wait until the conversation shows a text."""
        self.lab.wait_until(lambda: text in self.text, f"{text!r} in the conversation")

    def held(self, code: str, cell: int) -> str:
        """What a cell of the notebook prints after its source was replaced by `code`."""
        self.lab.evaluate(
            "(panel, [index, code]) => panel.content.widgets[index].model.sharedModel.setSource(code)",
            [cell, code],
        )
        self.lab.run_cell(cell)
        return self.lab.text(cell)


def opened(page: LabPage, name: str) -> Chat:
    """Open a notebook whose first two cells load a model and show the panel."""
    page.open(name)
    page.run_cell(0)
    page.run_cell(1)
    return Chat(page)


# The least contrast of a text with what is behind it, and whose it is.
CONTRAST = """root => {
    const parse = colour => { const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
        return colour.startsWith('color(') ? [r * 255, g * 255, b * 255, a] : [r, g, b, a]; };
    const over = (above, below) => [0, 1, 2].map(at => above[at] * above[3] + below[at] * (1 - above[3]))
        .concat(1);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
    const ground = node => { const layers = [];
        for (let at = node; at; at = at.parentElement) {
            const colour = parse(getComputedStyle(at).backgroundColor);
            layers.push(colour);
            if (colour[3] === 1) break;
        }
        return layers.reverse().reduce((below, above) => over(above, below), [255, 255, 255, 1]); };
    const opacity = node => { let all = 1;
        for (let at = node; at; at = at.parentElement) all *= Number(getComputedStyle(at).opacity);
        return all; };
    let worst = [99, ''];
    for (const node of root.querySelectorAll('*')) {
        const own = [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
        const off = node.closest('[disabled], [aria-disabled=true], [data-idle=true]');
        if (!own || off || !node.checkVisibility({opacityProperty: true})) continue;
        const behind = ground(node);
        const [r, g, b, a] = parse(getComputedStyle(node).color);
        const text = over([r, g, b, a * opacity(node)], behind);
        const [high, low] = [light(text), light(behind)].sort((one, two) => two - one);
        const ratio = (high + 0.05) / (low + 0.05);
        if (ratio < worst[0]) worst = [ratio, node.className + ': ' + node.textContent.slice(0, 40)];
    }
    return worst;
}"""


def assert_readable(chat: Chat) -> None:
    """Every text that is seen stands out from what is behind it, in the light theme and in the dark one."""
    light = chat.page.locator("body[data-jp-theme-light='true']").count() == 1
    # JupyterLab stumbles over a change to the theme that it has: begin with that one.
    for number, theme in enumerate(THEMES if light else THEMES[::-1]):
        if number:
            chat.lab.theme(theme)
            chat.page.wait_for_timeout(200)
        ratio, text = chat.root.evaluate(CONTRAST)
        assert ratio >= READABLE, f"{theme}, {ratio:.2f} to 1: {text}"
