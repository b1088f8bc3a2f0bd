"""The native quantiser: refused with the pip line where there is none, and run in a process of its own.

Stand-ins take the place of llama-cpp-python and of the program: they have the same calls, and write Q4_0 by
the gguf package, which llama.cpp is not needed for.
"""

import os
import stat
import sys
from pathlib import Path

import pytest

from llama_nb.core.errors import ConvertError
from llama_nb.loading import gguf_quantise
from llama_nb.loading.check import check
from llama_nb.loading.gguf_file import read_gguf
from llama_nb.loading.open import load_checked
from tests.models import write_random_llama

# Reads a GGUF in F32 and writes it again with matrices in Q4_0.
WORK = """
import sys
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, quants

def quantise(source, target, kind):
    reader, writer = GGUFReader(source), GGUFWriter(target, "llama")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        inner = field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)
    writer.add_file_type(kind)
    for tensor in reader.tensors:
        if len(tensor.shape) == 1:
            writer.add_tensor(tensor.name, tensor.data)
        else:
            blocks = quants.quantize(tensor.data, GGMLQuantizationType.Q4_0)
            writer.add_tensor(tensor.name, blocks, raw_dtype=GGMLQuantizationType.Q4_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
"""
LIBRARY = """
import ctypes
from stand_in import quantise

class llama_model_quantize_params(ctypes.Structure):
    _fields_ = [("nthread", ctypes.c_int32), ("ftype", ctypes.c_int)]

def llama_model_quantize_default_params():
    return llama_model_quantize_params(0, 0)

def llama_model_quantize(source, target, params):
    settings = params._obj
    if settings.ftype == 15:
        print("llama_model_quantize: failed to quantize: no", file=__import__("sys").stderr)
        return 1
    quantise(source.decode(), target.decode(), settings.ftype)
    return 0
"""
PROGRAM = """#!{python}
import sys
sys.path.insert(0, {folder!r})
from stand_in import quantise
assert sys.argv[3] == "Q4_0"
quantise(sys.argv[1], sys.argv[2], 2)
"""


@pytest.fixture
def folder(tmp_path: Path, stories260k: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "stand_in.py").write_text(WORK)
    return write_random_llama(tmp_path / "m", tokenizer_from=stories260k, hidden=64, ffn=128)


@pytest.fixture
def library(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin" / "llama_cpp.py").write_text(LIBRARY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "bin"))
    monkeypatch.syspath_prepend(str(tmp_path / "bin"))
    return folder


def test_without_a_quantiser_the_pip_line_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"(?s)Q4_K_M is made .*pip install llama-cpp-python"):
        gguf_quantise.write_quantised(check(folder), tmp_path / "m.gguf", "Q4_K_M")
    assert not gguf_quantise.available()


def test_the_library_quantises_in_a_process_of_its_own(library: Path, tmp_path: Path) -> None:
    written = gguf_quantise.write_quantised(check(library), tmp_path / "m.gguf", "Q4_0")
    header = read_gguf(tmp_path / "m.gguf")
    assert (written.type, header.type, written.error) == ("Q4_0", "Q4_0", None)
    assert header.tensors["blk.0.ffn_up.weight"].type == "Q4_0"
    assert "llama_cpp" not in sys.modules
    assert load_checked(tmp_path / "m.gguf").checked.parameters == check(library).parameters
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bin", "m", "m.gguf"]


def test_the_program_quantises_too(folder: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "llama-quantize"
    program.write_text(PROGRAM.format(python=sys.executable, folder=str(tmp_path / "bin")))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    assert gguf_quantise.write_quantised(check(folder), tmp_path / "m.gguf", "Q4_0").type == "Q4_0"


def test_what_the_quantiser_says_when_it_fails(library: Path, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_text("what was there")
    with pytest.raises(ConvertError, match=r"failed at Q4_K_M: llama_model_quantize: failed to quantize: no"):
        gguf_quantise.write_quantised(check(library), tmp_path / "m.gguf", "Q4_K_M")
    assert (tmp_path / "m.gguf").read_text() == "what was there"
    assert sorted(os.listdir(tmp_path)) == ["bin", "m", "m.gguf"]  # noqa: PTH208 - hidden ones too


@pytest.mark.parametrize(("asked", "means"), [("q8_0", "Q8_0"), ("Q4_k_m", "Q4_K_M"), ("bf16", "BF16")])
def test_types_are_read_in_any_case(asked: str, means: str) -> None:
    assert gguf_quantise.parse_type(asked) == means


@pytest.mark.parametrize(("asked", "near"), [("Q4KM", "Q4_K_M"), ("Q8", "Q8_0"), ("fp16", "F16")])
def test_an_unknown_type_names_the_nearest(asked: str, near: str) -> None:
    with pytest.raises(ConvertError, match=f"(?s)type is '{asked}'.*Did you mean '{near}'"):
        gguf_quantise.parse_type(asked)
