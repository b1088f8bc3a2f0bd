"""What the loader panel lists, and how it would load the chosen one: figures, refusals, what can be asked."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import llama_nb as llama
from llama_nb.catalog import catalog
from llama_nb.core.errors import LoadError
from llama_nb.loading import hub_cache
from llama_nb.planner.shape import Shape
from llama_nb.runtime import usage
from llama_nb.session import loader, loader_plan
from llama_nb.session.loader import Entry

BIG = "meta-llama/Llama-3.1-8B-Instruct"


@pytest.fixture(autouse=True)
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """16 GB free on a CPU, an empty cache, a network."""
    monkeypatch.setattr(usage, "gpus", lambda: ())
    monkeypatch.setattr("llama_nb.runtime.devices.available_memory", lambda device="cpu": 16 * 10**9)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    yield
    for name in llama.loaded():
        llama.unload(name, force=True)


def cache(repo: str, folder: Path) -> None:
    """Put a model into the hub's cache."""
    root = hub_cache.cache_folder() / f"models--{repo.replace('/', '--')}"
    shutil.copytree(folder, root / "snapshots" / "0123")
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("0123")


def by_source(typed: tuple[str, ...] = ()) -> dict[str, Entry]:
    return {entry.source: entry for entry in loader.entries(typed)}


# --- the list ---------------------------------------------------------------------------------------


def test_the_bundled_model_is_listed_first_and_suggested() -> None:
    listed = loader.entries()
    assert (listed[0].source, listed[0].where, listed[0].fits) == ("cria", "bundled", "fits")
    assert listed[0].quant == "float32"
    assert listed[0].parameters == "2.76 M"
    assert loader.suggested(listed) == listed[0]


def test_what_the_hub_has_says_whether_it_fits_and_how() -> None:
    listed = by_source()
    assert (listed[BIG].where, listed[BIG].fits, listed[BIG].quant) == ("hub", "fits", "int8")
    assert listed["meta-llama/Llama-3.2-1B"].quant == "bf16"
    assert listed["meta-llama/Llama-3.3-70B-Instruct"].fits == "does not fit"
    assert listed["meta-llama/Llama-Guard-4-12B"].fits == "unknown"


def test_each_source_is_listed_once_wherever_it_is(stories260k: Path) -> None:
    cache(BIG, stories260k)
    llama.load(stories260k, name="first")
    listed = loader.entries(typed=(str(stories260k), "someone/other"))
    sources = [entry.source for entry in listed]
    assert len(sources) == len(set(sources))
    places = {entry.source: entry.where for entry in listed}
    assert places[BIG] == "cached"
    assert places[str(stories260k)] == "loaded"
    assert places["someone/other"] == "typed"
    assert next(entry for entry in listed if entry.source == str(stories260k)).parameters == "260 k"


def test_a_damaged_model_of_the_cache_is_listed_without_figures(stories260k: Path) -> None:
    cache("someone/broken", stories260k)
    folder = hub_cache.snapshot("someone/broken")
    assert folder is not None
    (folder / "config.json").write_text("{")
    entry = by_source()["someone/broken"]
    assert (entry.where, entry.fits, entry.parameters) == ("cached", "unknown", "")


def test_loaded_models_say_what_they_are(stories260k: Path) -> None:
    assert loader.loaded() == []
    llama.load(stories260k, name="first")
    llama.load("cria")
    first, second = loader.loaded()
    assert (first.name, first.current, second.current) == ("first", False, True)
    assert first.detail == "float32 on cpu · 1.04 MB · context 512"


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        ("cria", "cria"),
        (BIG.lower(), BIG),
        ("llama-3.1-8b-instruct", BIG),
        ("someone/other", "someone/other"),
    ],
)
def test_what_is_typed_is_looked_up(typed: str, means: str) -> None:
    assert loader.look_up(typed) == means


@pytest.mark.parametrize("typed", ["", "../../etc", "crya", "https://huggingface.co/a/b", "x" * 5000])
def test_what_names_nothing_is_refused_with_what_would(typed: str) -> None:
    with pytest.raises(LoadError) as refused:
        loader.look_up(typed)
    assert refused.value.hint


def test_offline_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loader.offline_sentence() == ""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "nothing can be downloaded" in loader.offline_sentence()
    assert "HF_HUB_OFFLINE" in loader_plan.plan_for(BIG)["refused"]
    assert loader_plan.plan_for("cria")["refused"] == ""


# --- the plan ---------------------------------------------------------------------------------------


def test_a_plan_has_every_quantisation_at_every_context() -> None:
    plan = loader_plan.plan_for(BIG)
    assert plan["facts"] == ["8.03 B parameters"]
    assert plan["memory"] == 16 * 10**9
    assert [one["quant"] for one in plan["quants"]][:2] == ["none", "int8"]
    for one in plan["quants"]:
        assert [stop["context"] for stop in one["stops"]] == [2**power for power in range(9, 18)]
        totals = [stop["total"] for stop in one["stops"]]
        assert totals == sorted(totals)
        assert all(sum(stop["bytes"]) == stop["total"] for stop in one["stops"])
    bf16 = plan["quants"][0]["stops"][0]
    assert bf16["bytes"][0] == 2 * 8_030_261_248
    assert bf16["verdict"] == "does not fit"
    asked = llama.plan(BIG, quant="int8", context=8192, here=True)
    shown = next(stop for stop in plan["quants"][1]["stops"] if stop["context"] == 8192)
    assert shown["total"] == asked.total_bytes
    # 32 layers x 8 key/value heads x 128 x 2 bytes x 2 (keys and values), at 512 tokens
    assert bf16["bytes"][1] == 32 * 8 * 128 * 2 * 2 * 512
    assert len(json.dumps(plan)) < 60_000


def test_the_suggestion_is_the_least_lossy_that_fits_with_the_longest_context() -> None:
    plan = loader_plan.plan_for(BIG)
    choice = loader_plan.suggestion(plan)
    assert choice == {"source": BIG, "quant": "int8", "device": "auto", "context": 16_384}
    assert loader_plan.command(plan, choice) == f"%llama load {BIG} --quant int8 --context 16384"
    small = loader_plan.plan_for("cria")
    assert loader_plan.command(small, loader_plan.suggestion(small)) == "%llama load cria"


def test_what_fits_in_no_way_has_a_suggestion_too() -> None:
    plan = loader_plan.plan_for("meta-llama/Llama-3.3-70B-Instruct")
    choice = loader_plan.suggestion(plan)
    assert choice["context"] == 512
    assert "more than is free" in loader_plan.sentence(plan, choice)


def test_what_it_says_agrees_with_what_loading_does(stories260k: Path) -> None:
    plan = loader_plan.plan_for(str(stories260k))
    choice = loader_plan.suggestion(plan)
    model = llama.load(stories260k, quant=choice["quant"], context=choice["context"])
    assert (model.context, model.dtype) == (choice["context"], plan["quants"][0]["label"])
    # Beside the weights a model in memory has the frequencies of RoPE.
    assert plan["quants"][0]["stops"][0]["bytes"][0] == pytest.approx(model.bytes, rel=1e-3)


def test_loading_again_counts_the_old_one_as_free() -> None:
    assert loader_plan.plan_for("cria")["memory"] == 16 * 10**9
    model = llama.load("cria")
    assert loader_plan.plan_for("cria")["memory"] == 16 * 10**9 + model.bytes


def test_licence_and_gate_stand_beside_a_gated_model() -> None:
    plan = loader_plan.plan_for(BIG)
    assert plan["gate"]["url"] == f"https://huggingface.co/{BIG}"
    assert plan["gate"]["command"] == "%llama login"
    assert plan["licence"]["command"] == "%llama license llama-3.1-8b-instruct"
    assert plan["licence"]["lines"][0]
    assert "gate" not in loader_plan.plan_for("cria")


def test_a_cached_gated_model_needs_no_acceptance_any_more(stories260k: Path) -> None:
    cache(BIG, stories260k)
    assert "gate" not in loader_plan.plan_for(BIG)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("meta-llama/Llama-3.2-11B-Vision-Instruct", "reads images"),
        ("meta-llama/Llama-Prompt-Guard-2-86M", "only classifies"),
    ],
)
def test_what_this_version_cannot_load_is_refused_before(source: str, says: str) -> None:
    plan = loader_plan.plan_for(source)
    assert says in plan["refused"]
    assert "gate" not in plan
    assert loader_plan.offered(plan, "none", None, "auto") is None


def test_a_mixture_of_experts_has_a_plan() -> None:
    assert loader_plan.plan_for("meta-llama/Llama-4-Scout-17B-16E-Instruct")["refused"] == ""
    plan = loader_plan.plan_for("cria-moe")
    assert plan["refused"] == ""
    assert plan["quants"]


def test_a_damaged_folder_has_a_plan_that_says_so(stories260k: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(stories260k, tmp_path / "my model")
    assert loader_plan.plan_for(str(folder))["argument"] == f'"{folder}"'
    (folder / "config.json").write_text("{")
    plan = loader_plan.plan_for(str(folder))
    assert "config.json" in plan["refused"]
    assert loader_plan.suggestion(plan)["context"] is None


def test_an_unknown_hub_id_has_no_figures_but_can_be_loaded() -> None:
    plan = loader_plan.plan_for("someone/other")
    assert plan["quants"] == []
    assert "not here" in plan["notes"][0]
    choice = loader_plan.offered(plan, "none", None, "auto")
    assert choice == {"source": "someone/other", "quant": "none", "device": "auto", "context": None}
    assert loader_plan.command(plan, choice) == "%llama load someone/other"


def test_a_page_gets_what_the_plan_offers_and_nothing_else() -> None:
    plan = loader_plan.plan_for("cria")
    assert loader_plan.offered(plan, "none", 512, "auto") == {
        "source": "cria", "quant": "none", "device": "auto", "context": 512,
    }  # fmt: skip
    for quant, context, device in (
        ("4bits", 512, "auto"), (None, 512, "auto"), (["none"], 512, "auto"), ({}, 512, "auto"),
        ("none", 513, "auto"), ("none", "512", "auto"), ("none", None, "auto"), ("none", [512], "auto"),
        ("none", 512, "cuda"), ("none", 512, None), ("none", 512, {}),
    ):  # fmt: skip
        assert loader_plan.offered(plan, quant, context, device) is None


def test_a_method_that_cannot_run_here_is_refused_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_plan, "_cannot", lambda quant, device: "needs a GPU" if quant == "nf4" else "")
    plan = loader_plan.plan_for("cria")
    assert {one["quant"] for one in plan["quants"] if one["refused"]} == {"nf4"}
    assert loader_plan.offered(plan, "nf4", 512, "auto") is None
    shape = Shape.from_config(catalog.find("llama-3.1-8b").config)  # type: ignore[union-attr]
    assert loader_plan.best_fit(shape, loader_plan.place("cpu", -8 * 10**9)) == ("fits", "nf4-double")


def test_a_gpu_is_offered_beside_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = usage.GpuUsage("NVIDIA T4", 16 * 10**9, 10**9, 15 * 10**9)
    monkeypatch.setattr(usage, "gpus", lambda: (gpu,))
    plan = loader_plan.plan_for(BIG)
    assert [one["name"] for one in plan["devices"]] == ["auto", "cpu"]
    assert "T4" in plan["devices"][0]["label"]
    assert plan["memory"] == 15 * 10**9
    assert "T4: 15.0 GB free" in loader.machine_sentence()
    on_cpu = loader_plan.plan_for(BIG, "cpu")
    assert on_cpu["memory"] == 16 * 10**9
    assert loader_plan.suggestion(on_cpu)["device"] == "cpu"
    assert loader_plan.command(on_cpu, loader_plan.suggestion(on_cpu)).endswith("--device cpu")
