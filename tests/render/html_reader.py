"""Reads HTML as a browser would take it apart, and says what in it is not allowed."""

from html.parser import HTMLParser

from llama_nb.render.nodes import TAGS, link_host

ATTRIBUTES = {"style", "title", "role", "aria-label", "href", "target", "rel", "start"}
# In a style these could fetch, run or cover the page.
UNSAFE_STYLES = (
    "url",
    "import",
    "expression",
    "position",
    "@",
    "\\",
    "behavior",
    "content:",
    "image",
    "z-index",
)


class HtmlReader(HTMLParser):
    """After `feed`: `faults` (what is not allowed), `text` and `hosts` (where links lead)."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.text = ""
        self.hosts: list[str] = []
        self.open = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open += tag not in {"br", "hr"}
        if tag not in TAGS:
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            if name not in ATTRIBUTES:
                self.faults.append(f"{name}={value}")
            if "javascript:" in (value or "").lower():
                self.faults.append(f"{name}={value}")
            if name == "style" and any(word in (value or "").lower() for word in UNSAFE_STYLES):
                self.faults.append(f"style={value}")
            if name == "href":
                host = link_host(value or "")
                self.hosts.append(host or "")
                if host is None:
                    self.faults.append(f"href={value}")

    def handle_endtag(self, tag: str) -> None:
        self.open -= 1

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.faults.append(f"<!{decl}>")

    def unknown_decl(self, data: str) -> None:
        self.faults.append(f"<![{data}]>")

    def handle_pi(self, data: str) -> None:
        self.faults.append(f"<?{data}>")


def read(html: str) -> HtmlReader:
    """Take `html` apart."""
    reader = HtmlReader()
    reader.feed(html)
    reader.close()
    return reader
