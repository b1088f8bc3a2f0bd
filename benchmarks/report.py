"""What a benchmark returns, and the table made of it. Measures nothing and imports nothing heavy."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

START = "<!-- table: written by `python -m benchmarks` -->"
END = "<!-- end of table -->"
SECTION = "<!-- section: {} -->"


@dataclass(frozen=True)
class Row:
    """One measurement beside what it is compared with.

    `ratio` is ours to the peer's in the direction that the budget speaks of; `met` is None where there is no
    budget, only a figure.
    """

    what: str
    ours: str
    peer: str
    ratio: float | None
    budget: str
    met: bool | None


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table."""
    lines = ["| what | ours | peer | ratio | budget | met |", "|---|---|---|---|---|---|"]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.3g}x"
        met = {True: "yes", False: "**no**", None: ""}[row.met]
        lines.append(f"| {row.what} | {row.ours} | {row.peer} | {ratio} | {row.budget} | {met} |")
    return "\n".join(lines)


def section(name: str, title: str, rows: Sequence[Row]) -> str:
    """Return one benchmark's part of the report."""
    how = f"`python -m benchmarks {name}` on {machine()}."
    return f"{SECTION.format(name)}\n### {title}\n\n{how}\n\n{table(rows)}\n"


def sections(text: str) -> dict[str, str]:
    """Return the parts that a report holds, by the name of their benchmark."""
    inside = text.split(START, 1)[1].split(END, 1)[0]
    head, tail = SECTION.split("{}")
    parts = inside.split(head)[1:]
    return {part.split(tail, 1)[0]: (head + part).strip() + "\n" for part in parts}


def write(path: Path, fresh: Mapping[str, str]) -> None:
    """Put fresh parts into the report between its markers; parts that were not measured now stay."""
    text = path.read_text(encoding="utf-8")
    parts = {**sections(text), **fresh}
    inside = "\n".join(parts[name] for name in sorted(parts))
    before, after = text.split(START, 1)[0], text.split(END, 1)[1]
    path.write_text(f"{before}{START}\n\n{inside}\n{END}{after}", encoding="utf-8")


def machine() -> str:
    """Return processor, cores, memory and versions in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    versions = ", ".join(f"{name} {_version(name)}" for name in ("torch", "transformers", "ipykernel"))
    return (
        f"{_processor()}, {cores} cores (load {load:.1f} when measured), {memory:.0f} GiB; "
        f"{platform.system()}, Python {platform.python_version()}, {versions}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"
