"""What an examination found, as a value: problems first, as text and HTML, the state in a word and a sign."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from llama_nb.render.clean import clean
from llama_nb.render.html import to_html
from llama_nb.render.nodes import Element, Node, element
from llama_nb.runtime.environment import detect
from llama_nb.runtime.secrets import redact
from llama_nb.session.doctor.check import Check
from llama_nb.session.doctor.report import bug_report

SIGNS: Final = {"problem": "✗", "note": "!", "ok": "✓"}
_ORDER: Final = tuple(SIGNS)
_WIDTH: Final = 110
_COMMANDS: Final = ("%", "pip ", "jupyter ", "nvidia-smi ")  # what to do that can be typed as it stands


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What an examination found; made by `llama.doctor()`.

    Iterate over it for its checks, or take one by name: `diagnosis["torch"]`.
    """

    checks: tuple[Check, ...]

    @property
    def problems(self) -> tuple[Check, ...]:
        """What will not work as it is."""
        return tuple(check for check in self.checks if check.state == "problem")

    def report(self) -> str:
        """Return a text for a bug report: no token, no name of user or machine, no path of a notebook."""
        return bug_report(self._text(figures=_figures(), width=10_000))

    def sorted(self) -> tuple[Check, ...]:
        """Return the checks, problems first and then notes."""
        return tuple(sorted(self.checks, key=lambda check: _ORDER.index(check.state)))

    def summary(self) -> str:
        """Return one sentence: how many problems, how many notes."""
        count = {state: sum(check.state == state for check in self.checks) for state in _ORDER}
        problems = f"{count['problem'] or 'No'} problem{'' if count['problem'] == 1 else 's'}"
        notes = f"{count['note']} note{'' if count['note'] == 1 else 's'}"
        fine = f"{count['ok']} check{' is' if count['ok'] == 1 else 's are'} fine"
        return f"{problems}, {notes}; {fine}."

    def __iter__(self) -> Iterator[Check]:
        return iter(self.sorted())

    def __len__(self) -> int:
        return len(self.checks)

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.sorted() if check.name == name)

    def __repr__(self) -> str:
        return self._text(figures=_figures(), width=_WIDTH)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": to_html(self._nodes(figures=_figures()))}

    def _text(self, *, figures: bool, width: int) -> str:
        room = max((len(check.name) for check in self.checks), default=0)
        lines = [self.summary(), ""]
        for check in self.sorted():
            head = f"{SIGNS[check.state]} {check.state:<7}  {check.name:<{room}}  "
            indent = " " * len(head)
            lines += textwrap.wrap(
                _said(check, figures), width, initial_indent=head, subsequent_indent=indent
            )
            if check.command:
                lines.append(f"{indent}→ {clean(redact(check.command))}")
        return "\n".join(lines)

    def _nodes(self, *, figures: bool) -> list[Node]:
        rows = [_row(check, figures) for check in self.sorted()]
        titles = [element("th", title) for title in ("state", "what", "found")]
        table = element("table", element("thead", element("tr", *titles)), element("tbody", *rows))
        return [element("p", self.summary()), table]


def _row(check: Check, figures: bool) -> Element:
    state = f"{SIGNS[check.state]}\N{NO-BREAK SPACE}{check.state}"
    shown: Node = element("strong", state) if check.state == "problem" else state
    found: list[Node] = [_said(check, figures)]
    if check.command:
        command = clean(redact(check.command))
        typed = check.command.startswith(_COMMANDS)
        found += [element("br"), "→ ", element("code", command) if typed else command]
    cells: list[list[Node]] = [[shown], [check.name], found]
    return element("tr", *(element("td", *cell) for cell in cells))


def _said(check: Check, figures: bool) -> str:
    here = " ".join(clean(redact(check.here)).split())[:400] if figures else ""
    return clean(redact(check.says)) + (f" ({here})" if here else "")


def _figures() -> bool:
    """Whether paths and figures of the moment are shown: to a person, and to a script."""
    place = detect()
    return place.watched or place.kind == "plain"
