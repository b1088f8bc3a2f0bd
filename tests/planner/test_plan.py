"""Plans against the published figures: cache, weights, splitting, verdicts, and what is offered instead."""

import json

import pytest

from llama_nb.core.errors import LoadError
from llama_nb.planner.job import Target
from llama_nb.planner.plan import contexts, estimate
from llama_nb.planner.shape import Shape
from tests.planner.configs import EIGHT, MAVERICK, SCOUT, SEVENTY, SMALL

EIGHT_B, SEVENTY_B, SCOUT_17B = (Shape.from_config(config) for config in (EIGHT, SEVENTY, SCOUT))
GB = 10**9
NOWHERE = Target("", None, kind="cpu")


def plan(shape=EIGHT_B, device=NOWHERE, **asked):
    return estimate(shape, name="model", device=device, **asked)


def gpus(count, memory=24 * GB):
    return Target("24 GB" if count == 1 else f"{count}x 24 GB", memory, count)


def test_the_cache_of_the_8b():
    assert plan(context=8192).kv_cache_bytes == 2**30
    assert plan(context=131_072).kv_cache_bytes == 16 * 2**30
    assert plan(context=8192, batch=4).kv_cache_bytes == 4 * 2**30
    assert "131,072 bytes per token" in plan().parts[1].detail


def test_the_cache_of_the_70b_and_what_gqa_saves():
    kept = plan(SEVENTY_B, context=1000).kv_cache_bytes
    assert kept == 327_680 * 1000
    whole = Shape.from_config({**SEVENTY, "num_key_value_heads": 64})
    assert plan(whole, context=1000).kv_cache_bytes == 8 * kept


def test_the_cache_of_chunked_layers_stops_growing():
    per_token = 2 * 48 * 8 * 128 * 2
    assert plan(SCOUT_17B, context=8192).kv_cache_bytes == per_token * 8192
    long = plan(SCOUT_17B, context=131_072).kv_cache_bytes
    assert long == per_token * (131_072 + 3 * 8192) // 4


def test_the_cache_in_another_dtype():
    assert plan(cache_dtype="float32").kv_cache_bytes == 2 * plan().kv_cache_bytes


def test_the_70b_in_bfloat16_does_not_fit_two_cards_of_24_gb():
    found = plan(SEVENTY_B, gpus(2))
    assert found.weights_bytes >= 141 * GB
    assert found.verdict == "does not fit"
    assert "24.0 GB" in found.sentence
    assert "does not fit" in found.sentence
    commands = [option.command for option in found.options]
    assert any("--quant nf4-double" in command for command in commands)
    assert any('--gpus "8x 24 GB"' in command for command in commands)


def test_every_option_fits_where_it_is_offered():
    for found in (
        plan(SEVENTY_B, gpus(1)),
        plan(device=gpus(1), context=131_072),
        plan(device=gpus(1), train="lora", batch=8),
        plan(device=gpus(1), train="full"),
        plan(device=Target("this machine", 8 * GB, kind="cpu")),
    ):
        assert found.options
        for option in found.options:
            count = int(option.what.split("x")[0]) if "x 24 GB" in option.what else 1
            assert option.bytes <= found.target.memory * count


def test_options_stand_cheapest_first():
    whats = [option.what for option in plan(device=gpus(1), context=32_768).options]
    kinds = ["int8", "tokens of context", "llama-3.2", "GB"]
    places = [next(i for i, what in enumerate(whats) if kind in what) for kind in kinds]
    assert places == sorted(places)


@pytest.mark.parametrize(("room", "verdict"), [(1.2, "fits"), (1.05, "tight"), (0.99, "does not fit")])
def test_verdicts(room, verdict):
    needed = plan(device=gpus(1, 10**15)).total_bytes
    assert plan(device=gpus(1, int(needed * room))).verdict == verdict
    assert plan().verdict == "unknown"


def test_the_parts_add_up_and_say_what_they_hold():
    for found in (plan(), plan(train="lora"), plan(train="full"), plan(SCOUT_17B, gpus(4))):
        assert sum(part.bytes for part in found.parts) == found.total_bytes
        assert all(part.detail for part in found.parts)
        assert list(found.to_frame()["bytes"]) == [part.bytes for part in found.parts]


def test_what_a_process_grows_by_leaves_its_imports_out():
    found = plan()
    assert found.total_bytes - found.growth_bytes == 371_000_000
    assert found.overhead_bytes > 371_000_000  # the tokenizer belongs to the model


def test_a_model_on_several_gpus():
    one, four = plan(SEVENTY_B, gpus(1)), plan(SEVENTY_B, gpus(4))
    norms = sum(group.parameters for group in SEVENTY_B.groups() if group.part == "norms")
    assert four.weights_bytes == one.weights_bytes + 3 * norms * 2
    assert four.kv_cache_bytes == one.kv_cache_bytes
    assert four.overhead_bytes == 4 * one.overhead_bytes


@pytest.mark.parametrize(("count", "times"), [(8, 1), (16, 2), (32, 4)])
def test_key_value_heads_are_held_more_than_once_where_gpus_are_more(count, times):
    assert plan(SEVENTY_B, gpus(count)).kv_cache_bytes == times * plan(SEVENTY_B, gpus(1)).kv_cache_bytes


def test_heads_that_do_not_divide():
    shape = Shape.from_config(
        {**EIGHT, "num_attention_heads": 30, "num_key_value_heads": 10, "head_dim": 128}
    )
    assert plan(shape, gpus(3)).kv_cache_bytes == 3 * plan(shape, gpus(1)).kv_cache_bytes
    found = plan(device=gpus(3))  # 32 query heads and 3 GPUs
    assert any("whole layers" in note for note in found.notes)
    assert found.kv_cache_bytes == pytest.approx(33 / 32 * 2**30)


def test_mixtures_say_what_is_active_and_what_stays():
    found = plan(SCOUT_17B, quant="nf4")
    assert "108 B parameters in all, 17.2 B active per token" in found.parts[0].detail
    said = "nf4 takes linear layers only: the experts, 90% of the parameters, stay in bfloat16."
    assert said in found.notes
    assert found.weights_bytes > 190 * GB
    assert plan(SCOUT_17B, quant="q4_k_m").weights_bytes < 70 * GB
    dense, mixed = plan(SEVENTY_B, TURBO), plan(Shape.from_config(MAVERICK), TURBO)
    assert mixed.speed.decode > 3 * dense.speed.decode


def test_one_routed_expert_and_the_shared_one_are_17_b_together():
    scout, maverick = (plan(Shape.from_config(config)).notes[-1] for config in (SCOUT, MAVERICK))
    assert "1 of 16 routed experts and through the shared one in each of 48 layers" in scout
    assert "17.2 B of 108 B parameters work for it" in scout
    assert "1 of 128 routed experts and through the shared one in 24 of 48 layers" in maverick
    assert "17.2 B of 401 B parameters work for it" in maverick
    for said in (scout, maverick):
        assert "reads 32.3 GB of the weights" in said  # 2 bytes of each, but of the embedding one row only


TURBO = Target("fast", 10**13, 1, bandwidth=1e12, flops=1e15)


def test_bounds_of_speed():
    found = plan(device=TURBO, context=8192)
    embedding = 128_256 * 4096 * 2
    read = found.weights_bytes - embedding + 2**30
    assert found.speed.decode == pytest.approx(1e12 / read)
    short = plan(device=TURBO, context=1)
    assert short.speed.prefill == pytest.approx(1e15 / (2 * EIGHT_B.parameters), rel=0.01)
    assert plan(device=TURBO, context=131_072).speed.prefill < short.speed.prefill / 2
    assert plan().speed.decode is None


def test_all_quantisations_at_once():
    frame = plan(device=gpus(1)).quantisations()
    assert {"none", "int8", "nf4", "nf4-double", "gptq-4bit", "q4_k_m"} <= set(frame.index)
    assert frame.loc["nf4", "bits"] == 4.5
    assert frame.loc["nf4-double", "total"] < frame.loc["nf4", "total"] < frame.loc["none", "total"]


def test_a_row_for_each_gpu():
    frame = plan(SEVENTY_B, gpus(1)).gpus()
    assert frame.loc["RTX 4090", "verdict"] == "does not fit"
    assert frame.loc["B200", "verdict"] in ("fits", "tight")
    assert frame.loc["B200", "tokens_per_s"] > 0


def test_a_longer_context_than_the_model_knows_is_planned_and_said():
    found = plan(context=200_000)
    assert any("131,072" in note and "200,000" in note for note in found.notes)
    assert found.kv_cache_bytes == 200_000 * 131_072


def test_no_context_beyond_the_models_own_is_offered():
    for found in (
        plan(device=gpus(1), context=600_000),
        plan(device=Target("this machine", 24 * GB, kind="cpu"), context=300_000),
        plan(device=gpus(1, 60 * GB), context=200_000, train="lora"),
    ):
        assert found.options
        commands = [option.command for option in found.options]
        commands += [quant["command"] for quant in found.to_record()["quants"] if quant["command"]]
        for command in commands:
            assert int(command.split("--context ")[1].split()[0]) <= 131_072, command
        assert [stop for stop in contexts(found.job) if stop > 131_072] == [found.job.context]
    roomy = plan(device=gpus(1, 50 * GB), context=600_000)
    assert roomy.verdict == "does not fit"
    assert [option.what for option in roomy.options] == ["131,072 tokens of context, all that it knows"]


def test_a_mixture_that_would_fit_quantised_is_offered_to_be_loaded_so():
    shape = Shape.from_config({**SMALL, "model_type": "mixtral", "num_local_experts": 4, "hidden_size": 4096})
    whole = plan(shape, context=512)
    found = plan(shape, Target("this machine", whole.total_bytes - 10**6, kind="cpu"), context=512)
    assert found.options[0].command.startswith("%llama load model --quant ")


def test_what_is_converted_while_it_loads():
    found = plan(converted_from=5 * GB)
    assert found.load_peak_bytes >= found.weights_bytes + 5 * GB
    assert any("converted" in note for note in found.notes)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"context": 0}, "context is 0"),
        ({"context": 1.5}, "context is 1.5"),
        ({"batch": -1}, "batch is -1"),
        ({"train": "lora", "rank": 0}, "rank is 0"),
        ({"train": "lroa"}, "Did you mean 'lora'"),
        ({"quant": "nf5"}, "Did you mean 'nf4'"),
        ({"dtype": "float8"}, "float8"),
        ({"train": "full", "quant": "nf4"}, "nf4 weights cannot be trained"),
        ({"train": "lora", "target_modules": ["q_pro"]}, "Did you mean 'q_proj'"),
    ],
)
def test_bad_input_is_named(asked, named):
    with pytest.raises(LoadError) as caught:
        plan(**asked)
    assert named in str(caught.value)


def test_the_record_is_json_and_its_figures_are_those_of_the_plan():
    for found in (plan(device=gpus(2), context=3000), plan(train="qlora"), plan(Shape.from_config(SMALL))):
        record = json.loads(json.dumps(found.to_record()))
        stop = record["stops"][record["at"]]
        assert stop["context"] == record["context"] == found.job.context
        assert stop["total"] == sum(stop["bytes"]) == found.total_bytes
        assert [part["key"] for part in record["parts"]] == [part.key for part in found.parts]
        assert record["verdict"] == stop["verdict"] == found.verdict
        assert all(len(one["bytes"]) == len(record["parts"]) for one in (*record["stops"], *record["quants"]))
        assert record["schema"] == 1


def test_the_slider_stops_at_powers_of_two_and_at_what_was_asked():
    stops = contexts(plan(context=3000).job)
    assert stops == sorted(stops)
    assert {512, 1024, 3000, 131_072} <= set(stops)
    assert contexts(plan(context=200_000).job)[-1] == 200_000


def test_the_views():
    found = plan(device=gpus(1))
    assert repr(found).startswith("<Plan of model: 19.0 GB, fits")
    bundle = found._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "application/vnd.llama-nb.plan+json"}
