"""What a plan says, beside the memory that the same work takes in a fresh process.

Compared is what the process grows by at most after its imports, which is `Plan.growth_bytes`: all of
`total_bytes` but the bare process; that one has a row of its own. See plan_child.py for what is counted.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import subjects
from benchmarks.report import Row
from llama_nb import bundled
from llama_nb.planner.plan import Plan
from llama_nb.planner.working import chunk_tokens, process_bytes
from llama_nb.session.planning import plan

TITLE = "Plans: memory as planned and as measured"
SHARE: Final = 0.1
# Code that is touched first, buffers of threads, and chunks of a prompt, which are longer on faster machines:
# together a few MB, more than the weights of the smallest models.
SLACK: Final = 8_000_000
AT_ONCE: Final = 3
# glibc keeps freed blocks below a threshold (1 MiB, see runtime/process.py), and how many follows from the
# order in which blocks come and go. Batches and training are measured as what they ask for.
ASKED_FOR: Final = {"MALLOC_MMAP_THRESHOLD_": "131072"}

SIZES: Final[Mapping[str, Mapping[str, Any]]] = {
    "random 20 M": {"layers": 8, "hidden": 384, "heads": 6, "kv_heads": 2, "ffn": 1024, "vocab": 8000},
    "random 112 M": {"layers": 10, "hidden": 768, "heads": 12, "kv_heads": 4, "ffn": 2048, "vocab": 32_000},
    "random 300 M": {
        "layers": 14, "hidden": 1024, "heads": 16, "kv_heads": 4, "ffn": 3072, "vocab": 128_256, "tie": True,
    },
}  # fmt: skip
# Mixtures of experts by model_type, with the keys of their configs.
MIXTURES: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "random Llama 4 of 107 M": (
        "llama4_text",
        {"num_hidden_layers": 8, "hidden_size": 512, "num_attention_heads": 8, "num_key_value_heads": 2,
         "head_dim": 64, "intermediate_size": 1024, "intermediate_size_mlp": 2048, "num_local_experts": 8,
         "interleave_moe_layer_step": 2, "max_position_embeddings": 4096, "attention_chunk_size": 8192},
    ),
    "random Mixtral of 112 M": (
        "mixtral",
        {"num_hidden_layers": 6, "hidden_size": 512, "num_attention_heads": 8, "num_key_value_heads": 2,
         "head_dim": 64, "intermediate_size": 1024, "num_local_experts": 8, "max_position_embeddings": 4096},
    ),
}  # fmt: skip
_MIXTURE_VOCABULARY: Final = 32_000


@dataclass(frozen=True)
class Case:
    """One piece of work: a model in a folder, how it is loaded, and what it does.

    `files` is the dtype of a random model's files; "" for the real ones. `as_it_is` leaves the allocator
    alone: a row that tells, and judges nothing.
    """

    model: str
    files: str = ""
    dtype: str = "auto"
    quant: str = "none"
    context: int = 128
    batch: int = 1
    train: str | None = None
    checkpointing: bool = False
    as_it_is: bool = False

    @property
    def what(self) -> str:
        """What the case is called in the table."""
        names = [self.model, *(name for name in (self.dtype, self.quant) if name not in ("auto", "none"))]
        if self.files and self.quant == "none" and self.dtype not in ("auto", self.files):
            names.append(f"from {self.files}")
        words = [f"{' '.join(names)}:"]
        size = f"{self.batch} x {self.context:,}" if self.batch > 1 else f"{self.context:,}"
        if self.train:
            words.append({"lora": "LoRA", "qlora": "QLoRA", "full": "full fine-tuning"}[self.train])
            words.append(f"on {size} tokens" + (", checkpointing" if self.checkpointing else ""))
        else:
            words.append(f"{size} tokens")
        return " ".join(words) + ("; the allocator as it is" if self.as_it_is else "")

    @property
    def environment(self) -> Mapping[str, str]:
        """What the process finds in its environment beside ours."""
        return ASKED_FOR if (self.train or self.batch > 1) and not self.as_it_is else {}


@dataclass(frozen=True)
class Measured:
    """A plan, and the bytes that a process took: bare, and by which it grew in loading and in working."""

    plan: Plan
    process: int
    loading: int
    working: int


CASES: Final = (
    Case("stories260K", context=128),
    Case("stories260K", context=512),
    Case("stories260K", context=256, train="lora", batch=2),
    Case("cria", context=128),
    Case("cria", context=1024),
    Case("cria", context=1024, batch=4),
    Case("cria", quant="int8"),
    Case("cria", quant="nf4"),
    Case("cria", context=256, batch=4, train="lora"),
    Case("cria", context=256, batch=4, train="lora", checkpointing=True),
    Case("random 112 M", "float32", "float32"),
    Case("random 112 M", "float32", "float32", context=2048),
    Case("random 112 M", "float32", "float32", context=512, batch=4),
    Case("random 112 M", "float32", "bfloat16"),
    Case("random 112 M", "bfloat16", "bfloat16"),
    Case("random 112 M", "bfloat16", "bfloat16", context=1024),
    Case("random 112 M", "bfloat16", "bfloat16", context=256, batch=4),
    Case("random 112 M", "bfloat16", quant="int8"),
    Case("random 112 M", "bfloat16", quant="nf4"),
    Case("random 112 M", "bfloat16", quant="nf4", context=1024),
    Case("random 112 M", "bfloat16", quant="nf4-double"),
    Case("random 112 M", "bfloat16", quant="int8-quanto"),
    Case("random 112 M", "float32", "float32", train="lora", batch=2),
    Case("random 112 M", "float32", "float32", train="lora", batch=2, checkpointing=True),
    Case("random 112 M", "bfloat16", "bfloat16", context=16, train="lora", batch=2),
    Case("random 112 M", "bfloat16", "float32", "nf4-double", train="qlora", batch=2),
    Case("random 112 M", "bfloat16", "bfloat16", "nf4-double", 16, 2, "qlora", checkpointing=True),
    Case("random 20 M", "float32", "float32", train="full", batch=2),
    Case("random 300 M", "bfloat16", "bfloat16"),
    Case("random 300 M", "bfloat16", "bfloat16", context=1024),
    Case("random 300 M", "bfloat16", quant="nf4"),
    Case("random 300 M", "bfloat16", quant="int8-quanto"),
    Case("random 300 M", "bfloat16", "float32", context=64, train="lora", batch=2),
    Case("cria-moe", context=128),
    Case("cria-moe", context=1024, batch=4),
    Case("cria-moe", quant="int8"),
    Case("random Llama 4 of 107 M", "float32", "float32"),
    Case("random Llama 4 of 107 M", "float32", "float32", context=1024),
    Case("random Llama 4 of 107 M", "float32", "bfloat16"),
    Case("random Llama 4 of 107 M", "float32", quant="nf4"),
    Case("random Mixtral of 112 M", "float32", "float32"),
    Case("random Mixtral of 112 M", "float32", "float32", context=1024),
    Case("cria", context=256, batch=4, train="lora", as_it_is=True),
    Case("random 112 M", "float32", "float32", train="lora", batch=2, as_it_is=True),
    Case("random 112 M", "float32", "float32", context=256, train="lora", batch=2, as_it_is=True),
)


def write_random(folder: Path, model: str, dtype: str, tokenizer: Path) -> Path:
    """Write one of `SIZES`, or of `MIXTURES` in float32, with a real tokenizer of its vocabulary."""
    from tests.models import write_random_llama, write_random_mixture

    if model in MIXTURES:
        kind, keys = MIXTURES[model]
        with tempfile.TemporaryDirectory() as place:
            cut = subjects.write_tokenizer(Path(place), _MIXTURE_VOCABULARY, tokenizer)
            return write_random_mixture(folder, kind, tokenizer_from=cut, **keys)
    sizes = SIZES[model]
    with tempfile.TemporaryDirectory() as place:
        cut = subjects.write_tokenizer(Path(place), sizes["vocab"], tokenizer)
        return write_random_llama(folder, tokenizer_from=cut, context=4096, dtype=dtype, **sizes)


def measure(case: Case, folder: Path) -> Measured:
    """Plan a case, do it in a fresh process, and return both."""
    planned = plan(
        folder,
        quant=None if case.quant == "none" else case.quant,
        dtype=case.dtype,
        context=case.context,
        batch=case.batch,
        train=case.train,
        checkpointing=case.checkpointing,
        here=True,
    )
    job = planned.job
    work = {
        "folder": str(folder),
        "dtype": case.dtype,
        "quant": None if job.quant == "none" else job.quant,
        "kind": job.format.kind,
        "context": case.context,
        "batch": case.batch,
        "chunk": max(8, chunk_tokens(job.shape, planned.target) // case.batch),
        "work": "train" if case.train else "batch" if case.batch > 1 else "chat",
        "train": case.train,
        "rank": job.rank,
        "targets": job.targets,
        "checkpointing": case.checkpointing,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.plan_child", json.dumps(work)],
        capture_output=True,
        text=True,
        env=os.environ | case.environment,
        cwd=subjects.ROOT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{case.what} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    line = next(line for line in done.stdout.splitlines() if line.startswith("MEASURED "))
    found = json.loads(line.removeprefix("MEASURED "))
    return Measured(planned, found["process"], found["loading"], found["working"])


def close(planned: int, measured: int) -> bool:
    """Whether a plan is within the budget: 10 %, or 8 MB where that is more."""
    return abs(planned - measured) <= max(SHARE * measured, SLACK)


def row(what: str, planned: int, measured: int, *, judged: bool = True) -> Row:
    """Return a row of the table."""
    budget = "within 10 %" if measured * SHARE > SLACK else f"within {SLACK / 1e6:.0f} MB"
    return Row(
        what,
        f"{planned / 1e6:.1f} MB planned",
        f"{measured / 1e6:.1f} MB",
        planned / measured,
        budget if judged else "",
        close(planned, measured) if judged else None,
    )


def rows(case: Case, found: Measured) -> Iterator[Row]:
    """Yield the rows of a case: working, and loading where weights are converted on the way."""
    yield row(case.what, found.plan.growth_bytes, found.working, judged=not case.as_it_is)
    if found.plan.job.converted_from and not case.train:
        yield row(f"{case.what} while it loads", found.plan.load_peak_bytes, found.loading)


def processes(found: Sequence[Measured]) -> Iterator[Row]:
    """Yield a row for each kind of bare process: torch and transformers, and the libraries beside them."""
    seen: dict[int, list[int]] = {}
    for one in found:
        seen.setdefault(process_bytes(one.plan.job, one.plan.target), []).append(one.process)
    for planned, measured in sorted(seen.items()):
        libraries = next(
            _libraries(one.plan) for one in found if process_bytes(one.plan.job, one.plan.target) == planned
        )
        yield row(f"the bare process{libraries}", planned, max(measured))


def _libraries(plan: Plan) -> str:
    kind = plan.job.format.kind
    names = [kind] if kind in ("bitsandbytes", "quanto") else []
    names += ["peft"] if plan.job.train in ("lora", "qlora") else []
    return f", with {' and '.join(names)}" if names else ""


def run() -> list[Row]:
    """Measure every case whose model is there."""
    real = {
        "stories260K": subjects.stories260k(),
        "cria": subjects.cria(),
        "cria-moe": bundled.folder("cria-moe"),
    }
    tokenizer = subjects.llama3_tokenizer()
    with tempfile.TemporaryDirectory() as place:

        def folder(case: Case) -> Path | None:
            if not case.files:
                return real[case.model]
            return Path(place) / f"{case.model} {case.files}".replace(" ", "-") if tokenizer else None

        cases = [case for case in CASES if folder(case)]
        for case in cases:
            path = folder(case)
            if path is not None and tokenizer is not None and not path.exists():
                write_random(path, case.model, case.files, tokenizer)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = list(pool.map(lambda case: measure(case, folder(case) or Path()), cases))
    table = [line for case, one in zip(cases, found, strict=True) for line in rows(case, one)]
    missing = len(CASES) - len(cases)
    if missing:
        text = f"left out, for want of stories260K or the Llama 3 tokenizer: {missing} cases"
        table.append(Row(text, "", "", None, "", None))
    return [*processes(found), *table]
