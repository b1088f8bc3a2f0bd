"""`%llama plan` in a shell."""

import pytest

from llama_nb.core.errors import LlamaError
from llama_nb.magics.commands import plan as verb
from llama_nb.planner.plan import Plan


def test_a_plan_is_a_value(shell):
    cell = shell("%llama plan 3.3 70b --quant nf4 --context 128k --gpus 2x24GB")
    assert cell.ok, cell.out
    assert isinstance(cell.value, Plan)
    job = cell.value.job
    assert (job.quant, job.context, cell.value.target.count) == ("nf4", 131_072, 2)
    assert shell('p = %llama plan cria --train lora --rank 8 --gpus "RTX 4090"').ok
    assert shell.names["p"].job.rank == 8


def test_all_quantisations_in_a_table(shell):
    cell = shell("%llama plan llama-3.1-8b --gpus H100 --table")
    assert cell.ok
    assert "q4_k_m" in repr(cell.value)
    assert "q4_k_m" in cell.value._repr_mimebundle_()["text/html"]


def test_experts_in_main_memory(shell):
    line = "%llama plan llama-4-scout-instruct --quant q4_k_m --gpus 24GB"
    assert "`--offload 0`" in shell(line).value.notes[-1]
    cell = shell(f"{line} --offload 4 --hit-rate 0.6 --bandwidth 25")
    assert cell.ok, cell.out
    assert "60 % of the experts" in cell.value.notes[0]
    assert "tokens/s at 25 GB/s" in cell.value.notes[0]
    assert not any("`--offload 0`" in note for note in cell.value.notes)
    assert "4 of 16 experts of each layer" in cell.value._repr_mimebundle_()["text/html"]


@pytest.mark.parametrize(
    "line",
    [
        "3.1 8b --gpus 24GB --dtype float32",
        "3.1 8b --gpus 24GB --train lora --target-modules all-linear --batch 4",
        "3.2 1b --gpus 24GB --train full --batch 4",
        "3.3 70b --gpus 2x24GB --batch 2",
    ],
)
def test_an_offered_line_gives_the_figure_that_it_is_offered_with(shell, line):
    options = shell(f"%llama plan {line}").value.options
    assert options
    for option in options:
        assert shell(option.command).value.total_bytes == option.bytes, option


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("cria --gpus 4x", "4x"),
        ("cria --gpus H1OO", "H100"),
        ("cria --batch -1", "batch is -1"),
        ("cria --batch two", "batch is 'two'"),
        ("cria --batch 99999999999999999999", "1 to 999,999,999,999"),
        ("cria --train lora --rank 0", "rank is 0"),
        ("cria --context 0", "context is 0"),
        ("cria --context long", "128k"),
        ("cria --qaunt nf4", "--quant"),
        ("llama-9b", "llama-9b"),
        ("llama-4-scout-instruct --offload 17", "0 to 16"),
        ("llama-4-scout-instruct --offload four", "offload is 'four'"),
        ("llama-4-scout-instruct --offload 4 --hit-rate 60", "hit_rate is 60"),
        ("llama-4-scout-instruct --offload 4 --hit-rate much", "hit-rate is 'much'"),
        ("llama-4-scout-instruct --offload 4 --bandwidth 0", "bandwidth is 0"),
        ("llama-4-scout-instruct --hit-rate 0.6", "--offload 4"),
        ("cria --offload 4", "without experts"),
    ],
)
def test_bad_input(shell, line, named):
    cell = shell(f"%llama plan {line}")
    assert not cell.ok
    assert isinstance(cell.error, LlamaError)
    assert named in str(cell.error)


def test_completion_offers_the_catalogue():
    assert {"cria", "llama-3.3-70b-instruct"} <= set(verb.complete([]))
    assert "RTX 4090" in verb._gpus()
    assert "nf4" in verb._quants()
