"""The libraries of quantised weights: there, in range, and really importable (tried in a child process)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from llama_nb.session.doctor.check import Check, note, ok, problem
from llama_nb.session.doctor.checks.libraries import in_range, required, version_of
from llama_nb.session.doctor.imports import Imported
from llama_nb.session.doctor.scope import Scope

# Import name -> distribution and what it is for.
LIBRARIES: Final[Mapping[str, tuple[str, str]]] = {
    "bitsandbytes": ("bitsandbytes", "--quant int8, nf4, fp4, nf4-double"),
    "optimum.quanto": ("optimum-quanto", "--quant int4-quanto, int8-quanto"),
    "torchao": ("torchao", "--quant int8-torchao, int4-torchao"),
    "gguf": ("gguf", "reading GGUF files"),
}
_CPU_INFO: Final = Path("/proc/cpuinfo")


def check(scope: Scope) -> Iterator[Check]:
    """Yield what was found."""
    ranges = required("quant")
    for name, (distribution, _) in LIBRARIES.items():
        wanted = ranges.get(distribution.replace("-", "_"), "")
        yield library(name, scope.imports.of(name), version_of(distribution), wanted)
    yield processor(_CPU_INFO)


def library(name: str, found: Imported, version: str | None, wanted: str) -> Check:
    """Judge one library."""
    distribution, purpose = LIBRARIES[name]
    if not found.installed:
        return note(
            distribution, f"Not installed; it is needed for {purpose}.", "pip install 'llama-nb[quant]'"
        )
    if found.error:
        return problem(
            distribution,
            f"It cannot be used ({purpose}).",
            f"pip install --force-reinstall {distribution}",
            found.error,
        )
    if version is not None and not in_range(version, wanted):
        return problem(
            distribution,
            f"{version} is installed; llama-nb takes {wanted}.",
            f'pip install -U "{distribution}{wanted}"',
        )
    return ok(distribution, f"{version or 'present'}; for {purpose}.")


def processor(info: Path) -> Check:
    """Say whether this CPU is one on which bitsandbytes' 4-bit weights need a guard while training."""
    try:
        has_bf16 = "avx512_bf16" in info.read_text(encoding="utf-8", errors="replace")
    except OSError:
        has_bf16 = False
    if has_bf16:
        return note(
            "processor",
            "It has AVX512-BF16: fast in bfloat16. There bitsandbytes repacks 4-bit weights at the first "
            "reply, which spoils later training; llama-nb turns that off.",
        )
    return ok("processor", "No AVX512-BF16: bitsandbytes' 4-bit weights are left as they are.")
