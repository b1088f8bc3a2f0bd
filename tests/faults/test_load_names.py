"""A name, an option or a size that cannot be loaded: refused with the nearest that can.

`build` returns what the user typed; the model beside it stays as it is.
"""

import pickle
from pathlib import Path

import pytest
import torch

from llama_nb.core.errors import FitError
from tests.faults.broken_models import Bomb, Row, gguf, refuse, say, too_big, weights, write


def file_in(name: str, content: bytes) -> object:
    """Write a file and give its path as what the user typed."""

    def build(model: Path) -> str:
        write(name, content)(model)
        return f"{model}/{name}"

    return build


def dangling(model: Path) -> str:
    (model / "link").symlink_to("gone")
    return f"{model}/link"


NAMES = (
    Row("nothing", say(""), ("No model given", "%llama load cria")),
    Row("spaces", say("   "), ("No model given",)),
    Row("None", say(None), ("No model given",)),
    Row("a number", say(7), ("7",)),
    Row("a typo of a bundled model", say("cira"), ("'cira'", "Did you mean 'cria'")),
    Row("another case", say("Cria"), ("'Cria'", "Did you mean 'cria'")),
    Row("a typo of the catalogue", say("llama-3.2-1b-instrct"), ("Did you mean 'llama-3.2-1b-instruct'",)),
    Row("a name of nothing", say("gpt2"), ("'gpt2'", "OWNER/NAME", "cria")),
    Row("an id with a space", say("meta-llama/Llama 3.2 1B"),
        ("space", "Did you mean 'meta-llama/Llama-3.2-1B'")),
    Row("a page of the hub", say("https://huggingface.co/meta-llama/Llama-3.2-1B/tree/main"),
        ("Did you mean 'meta-llama/Llama-3.2-1B'",)),
    Row("a server", say("http://127.0.0.1:8000"), ("127.0.0.1:8000", "folders and hub ids")),
    Row("a scheme", say("vllm:http://127.0.0.1:8000"), ("vllm", "folders and hub ids")),
    Row("a missing folder", say("./nope"), ("'./nope'", "does not exist")),
    Row("a folder with a typo", say("./modle"), ("modle", "does not exist", "Nearest", "model")),
    Row("a folder in a missing folder", lambda m: f"{m}/a/b", ("does not exist",)),
    Row("a missing folder as a Path", lambda m: m / "nope", ("does not exist",)),
    Row("a way out", say("../../../../../../../../etc"), ("outside", "refused")),
    Row("a way out to nothing", say("../../nope/nope"), ("outside", "refused")),
    Row("a way out of the hub's names", say("meta-llama/../../etc"), ("refused", "outside")),
    Row("an id of three parts", say("a/b/c"), ("'a/b/c'", "OWNER/NAME")),
    Row("an id with control characters", say("a\x1b[31m/b"), ("OWNER/NAME",)),
    Row("a null character", say("a\0b"), ("no name",)),
    Row("10,000 characters", say("a" * 10_000), ("no name",)),
    Row("3,000 characters", say("a" * 3000), ("name",)),
    Row("a token in place of a name", say("hf_" + "a" * 30), ("hf_***",)),
    Row("a file of weights", weights, ("single file", "folder")),
    Row("the config", lambda m: f"{m}/config.json", ("single file", "folder")),
    Row("a GGUF file of zeros", file_in("tiny.gguf", gguf(1)), ("tiny.gguf is damaged",)),
    Row("a GGUF file of garbage", file_in("x.gguf", b"abcd" * 9), ("x.gguf", "not a GGUF")),
    Row("a pickle file", file_in("m.bin", pickle.dumps(Bomb())), ("m.bin", "refused")),
    Row("another file", lambda m: f"{m}/README.md", ("README.md", "file")),
    Row("a dangling link", dangling, ("link",)),
)  # fmt: skip

OPTIONS = (
    Row("dtype fp17", say(None), ("'fp17'", "one of", "float16", "Did you mean 'fp16'"), {"dtype": "fp17"}),
    Row("dtype int4", say(None), ("'int4'", "one of"), {"dtype": "int4"}),
    Row("a dtype that is a quantisation", say(None), ("'int8'", "--quant int8"), {"dtype": "int8"}),
    Row("dtype 16", say(None), ("16", "one of"), {"dtype": 16}),
    Row("dtype None", say(None), ("None", "one of"), {"dtype": None}),
    Row("quant 4bits", say(None), ("'4bits'", "none", "int8", "Did you mean 'nf4'"), {"quant": "4bits"}),
    Row("quant 8bit", say(None), ("'8bit'", "Did you mean 'int8'"), {"quant": "8bit"}),
    Row("a typo of nf4-double", say(None), ("'nf4-duoble'", "Did you mean 'nf4-double'"),
        {"quant": "nf4-duoble"}),
    Row("quant NF4", say(None), ("'NF4'", "Did you mean 'nf4'"), {"quant": "NF4"}),
    Row("quant of a GGUF", say(None), ("'q4_k_m'", "one of"), {"quant": "q4_k_m"}),
    Row("quant 4", say(None), ("'4'", "Did you mean 'nf4'"), {"quant": 4}),
    Row("quant empty", say(None), ("''", "one of"), {"quant": ""}),
    Row("context 0", say(None), ("0", "1 or more"), {"context": 0}),
    Row("context as a text", say(None), ("'long'", "whole number"), {"context": "long"}),
    Row("a context that the model has not", say(None), ("context is 513", "at most 512"), {"context": 513}),
    Row("device cuda without a GPU", say(None), ("no GPU here", "on cpu this needs", "--device cpu"),
        {"device": "cuda"}),
    Row("device cuda:9", say(None), ("cuda:9", "--device"), {"device": "cuda:9"}),
    Row("device gpu", say(None), ("'gpu'", "one of", "cuda"), {"device": "gpu"}),
    Row("device cpu:1", say(None), ("'cpu:1'", "one of"), {"device": "cpu:1"}),
    Row("device 0", say(None), ("0", "one of"), {"device": 0}),
)  # fmt: skip

FIT = (
    Row(
        "an 8B in 8 GB",
        too_big,
        ("does not fit", "bfloat16 on cpu needs 14.7 GB", "weights 14.0 GB", "2,048 tokens", "8.00 GB are",
         "`%llama load meta-llama/Llama-3.2-3B-Instruct`", "--quant int8`", "--quant nf4`"),
        error=FitError,
    ),
    Row("an 8B in float32", too_big,
        ("float32", "27.9 GB", "What fits"), {"dtype": "float32"}, error=FitError),
    Row("an 8B in int8 with its whole context", too_big,
        ("int8 on cpu needs 27.4 GB", "KV cache for 131,072 tokens 17.2 GB", "%llama load cria"),
        {"quant": "int8", "context": 131_072}, error=FitError),
)  # fmt: skip


@pytest.mark.parametrize("row", NAMES, ids=lambda row: row.name)
def test_a_name_is_refused(row: Row, model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refuse(row, row.build(model), model, capfd)


@pytest.mark.parametrize("row", [*OPTIONS, *FIT], ids=lambda row: row.name)
def test_an_option_is_refused(row: Row, model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if "cuda" in str(row.options.get("device")) and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    row.build(model)
    refuse(row, model, model, capfd)
