"""The loader panel without a browser: what it sends, what it does with messages, hostile ones among them."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import llama_nb as llama
from llama_nb.loading.turn import turn
from llama_nb.session import registry
from llama_nb.session.load_job import Choice, JobState
from llama_nb.widgets import live_view, loader_panel
from llama_nb.widgets.live_view import MIME
from llama_nb.widgets.loader_panel import LoaderPanel
from tests.conftest import ROOT
from tests.kernel import Kernel
from tests.widgets.conftest import Notebook, Wire

VIEW = "application/vnd.jupyter.widget-view+json"
WAIT_S = 60


@pytest.fixture(autouse=True)
def _nothing_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    yield
    for name in llama.loaded():
        llama.unload(name, force=True)


@pytest.fixture
def panel(wire: Wire) -> Iterator[LoaderPanel]:
    made = LoaderPanel()
    made.fill()
    yield made
    made.close()


def until(holds, seconds: float = WAIT_S) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def load(panel: LoaderPanel, wire: Wire, **changes: object) -> None:
    wire.send(panel.model_id, {"kind": "load", **panel.choice, **changes})


def test_the_page_draws_it_before_it_is_filled(notebook: Notebook, wire: Wire) -> None:
    panel = loader_panel.show(notebook)
    data = notebook.shown[0]
    assert {VIEW, "text/plain", "text/html"} <= set(data)
    opened = wire.of(panel.model_id)[0]["state"]
    assert opened["catalogue"] == {}
    assert panel.catalogue["entries"][0]["name"] == "cria"
    assert panel.choice["source"] == "cria"
    panel.close()


def test_the_oldest_of_many_panels_are_closed(notebook: Notebook, wire: Wire) -> None:
    panels = [loader_panel.show(notebook) for _ in range(live_view.MOST_SHOWN + 1)]
    assert panels[0].comm is None
    assert panels[1].comm is not None
    for panel in panels[1:]:
        panel.close()


def test_what_it_sends_is_small_enough_to_move_a_slider_with(panel: LoaderPanel) -> None:
    assert len(json.dumps(panel.catalogue)) < 30_000
    assert len(json.dumps(panel.plan)) < 60_000


def test_choosing_another_entry_sends_its_plan(panel: LoaderPanel, wire: Wire) -> None:
    wire.messages.clear()
    wire.send(panel.model_id, {"kind": "choose", "source": "meta-llama/Llama-3.2-1B"})
    assert panel.plan["name"] == "llama-3.2-1b"
    assert panel.choice["source"] == "meta-llama/Llama-3.2-1B"
    together = [state for state in wire.updates() if "plan" in state]
    assert len(together) == 1
    assert "choice" in together[0]


def test_what_did_not_fit_fits_when_memory_was_freed(
    panel: LoaderPanel, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verdicts() -> set[str]:
        return {entry["fits"] for entry in panel.catalogue["entries"] if entry["name"] == "llama-3.1-8b"}

    free = 4 * 10**9
    monkeypatch.setattr("llama_nb.runtime.devices.available_memory", lambda _: free)
    monkeypatch.setattr("llama_nb.runtime.usage.gpus", lambda: ())
    panel.refresh()
    wire.send(panel.model_id, {"kind": "choose", "source": "meta-llama/Llama-3.1-8B"})
    plain = panel.plan["quants"][0]["stops"][0]
    assert (verdicts(), plain["verdict"]) == ({"does not fit"}, "does not fit")
    free = int(4.05 * 10**9)
    wire.send(panel.model_id, {"kind": "chose", **panel.choice})
    assert panel.plan["memory"] == 4 * 10**9  # hardly anything has changed
    free = 60 * 10**9
    wire.send(panel.model_id, {"kind": "chose", **panel.choice})
    plain = panel.plan["quants"][0]["stops"][0]
    assert (verdicts(), plain["verdict"]) == ({"fits"}, "fits")
    free = 4 * 10**9
    wire.send(panel.model_id, {"kind": "hello"})
    assert verdicts() == {"does not fit"}


def test_a_method_whose_library_was_installed_meanwhile_is_offered(
    panel: LoaderPanel, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> str:
        return {quant["quant"]: quant["refused"] for quant in panel.plan["quants"]}["nf4"]

    missing = "quant nf4 needs bitsandbytes"
    with monkeypatch.context() as patch:
        patch.setattr("llama_nb.loading.quantize.library_missing", lambda library, what: missing)
        panel.refresh()
        assert refused() == missing
    wire.send(panel.model_id, {"kind": "hello"})
    assert refused() == ""


def test_a_folder_that_is_typed_is_added_and_chosen(
    panel: LoaderPanel, wire: Wire, stories260k: Path
) -> None:
    wire.send(panel.model_id, {"kind": "find", "text": f" {stories260k} "})
    assert panel.choice["source"] == str(stories260k)
    typed = [entry for entry in panel.catalogue["entries"] if entry["where"] == "typed"]
    assert [entry["source"] for entry in typed] == [str(stories260k)]


def test_what_is_typed_wrongly_is_said_in_the_panel(panel: LoaderPanel, wire: Wire) -> None:
    before = panel.choice
    wire.send(panel.model_id, {"kind": "find", "text": "./nope"})
    assert "does not exist" in panel.error
    assert panel.choice == before
    wire.send(panel.model_id, {"kind": "choose", "source": "cria"})
    assert panel.error == ""


def test_a_choice_in_the_page_is_kept_for_a_page_that_comes_back(panel: LoaderPanel, wire: Wire) -> None:
    wire.send(panel.model_id, {"kind": "chose", **panel.choice, "context": 512})
    assert panel.choice["context"] == 512
    assert "--context 512" in panel.text_twin()


def test_loading_shows_bytes_and_ends_with_the_model(panel: LoaderPanel, wire: Wire) -> None:
    load(panel, wire, context=512)
    until(lambda: panel.job.get("state") == "done")
    assert llama.current().name == "cria"
    assert llama.current().context == 512
    assert panel.job["bytes"] == llama.current().bytes
    assert [model["name"] for model in panel.models["models"]] == ["cria"]
    phases = [state["job"]["what"] for state in wire.updates() if state.get("job")]
    assert "Reading the weights of cria" in phases
    assert "cria" in panel.text_twin()
    assert "current" in panel.html_twin()
    first = panel.catalogue["entries"][0]
    assert (first["source"], first["where"]) == ("cria", "loaded")


def test_a_second_load_waits_for_the_end_of_the_first(panel: LoaderPanel, wire: Wire) -> None:
    with turn(None, "another"):
        load(panel, wire)
        first = panel._job
        load(panel, wire)
        assert panel._job is first
        assert "waiting" in panel.job["what"]
        wire.send(panel.model_id, {"kind": "cancel"})
        until(lambda: panel.job.get("state") == "cancelled")
    assert llama.loaded() == {}


def test_an_error_of_loading_is_shown_with_its_hint(
    panel: LoaderPanel, wire: Wire, stories260k: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in stories260k.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "model.safetensors").write_bytes(b"")
    wire.send(panel.model_id, {"kind": "find", "text": str(folder)})
    load(panel, wire)
    until(lambda: panel.job.get("state") == "failed")
    assert "empty" in panel.job["message"]
    assert panel.job["hint"]


def test_unloading_says_the_bytes_and_forgets_what_was_loaded(panel: LoaderPanel, wire: Wire) -> None:
    load(panel, wire)
    until(lambda: panel.job.get("state") == "done")
    wire.send(panel.model_id, {"kind": "unload", "name": "cria"})
    assert llama.loaded() == {}
    assert panel.models == {"models": [], "freed": "cria unloaded: 11.0 MB given back."}
    assert panel.job == {}
    assert panel.catalogue["entries"][0]["where"] == "bundled"


def test_a_busy_model_is_not_unloaded_and_the_panel_says_by_whom(panel: LoaderPanel, wire: Wire) -> None:
    model = llama.load("cria")
    reply = model.chat("Tell me a long story.", max_tokens=400, temperature=1, background=True)
    wire.send(panel.model_id, {"kind": "unload", "name": "cria"})
    reply.stop()
    reply.join(10)
    assert "cria is in use: chat 'main' is being answered" in panel.error
    assert model.alive


def test_what_magics_and_other_panels_do_is_shown(panel: LoaderPanel, wire: Wire, stories260k: Path) -> None:
    other = LoaderPanel()
    other.fill()
    llama.load("cria")
    llama.load(stories260k, name="second")
    for one in (panel, other):
        assert [(model["name"], model["current"]) for model in one.models["models"]] == [
            ("cria", False), ("second", True),
        ]  # fmt: skip
    wire.send(other.model_id, {"kind": "use", "name": "cria"})
    assert llama.current().name == "cria"
    assert panel.models["models"][0]["current"]
    other.close()
    llama.unload("second")
    assert len(panel.models["models"]) == 1


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"kind": None},
        {"kind": ["load"]},
        {"kind": "open"},
        {"kind": "__init__"},
        {"kind": "choose"},
        {"kind": "choose", "source": 3},
        {"kind": "choose", "source": ["cria"]},
        {"kind": "choose", "source": "x" * 100_000},
        {"kind": "find", "text": {}},
        {"kind": "chose"},
        {"kind": "chose", "source": "cria", "quant": {}, "context": "x", "device": []},
        {"kind": "chose", "source": "other", "quant": "none", "context": 512, "device": "auto"},
        {"kind": "use"},
        {"kind": "cancel", "force": True},
    ],
)
def test_malformed_messages_do_no_harm(panel: LoaderPanel, wire: Wire, message: dict[str, object]) -> None:
    before = (panel.choice, panel.plan, panel.models)
    wire.send(panel.model_id, message)
    assert (panel.choice, panel.plan, panel.models) == before
    assert llama.loaded() == {}
    assert "Traceback" not in panel.error


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "../../etc"},
        {"source": "/etc"},
        {"quant": "4bits"},
        {"quant": ["none"]},
        {"context": 10**12},
        {"context": -1},
        {"device": "cuda:0; rm -rf /"},
        {"device": None},
    ],
)
def test_what_the_panel_does_not_offer_is_not_loaded(panel: LoaderPanel, wire: Wire, changes) -> None:
    load(panel, wire, **changes)
    assert "does not offer" in panel.error
    assert panel._job is None


@pytest.mark.parametrize("name", ["nope", "", "<b>x</b>"])
def test_unloading_what_is_not_there_is_an_error_in_the_panel(
    panel: LoaderPanel, wire: Wire, name: str
) -> None:
    wire.send(panel.model_id, {"kind": "unload", "name": name})
    assert "No loaded model" in panel.error


def test_a_fault_in_a_callback_appears_in_the_panel(
    panel: LoaderPanel, wire: Wire, monkeypatch, caplog
) -> None:
    monkeypatch.setattr("llama_nb.session.loader_plan.plan_for", lambda *_: 1 / 0)
    wire.send(panel.model_id, {"kind": "choose", "source": "cria"})
    assert panel.error == "ZeroDivisionError: division by zero"
    assert "failed" in caplog.text


def test_progress_from_another_job_is_not_shown(panel: LoaderPanel) -> None:
    class Stranger:
        state = JobState(Choice("cria"))

    panel._follow(Stranger())  # type: ignore[arg-type]
    assert panel.job == {}


def test_many_threads_may_refresh_at_once(panel: LoaderPanel, wire: Wire) -> None:
    threads = [threading.Thread(target=panel.refresh) for _ in range(8)]
    for thread in threads:
        thread.start()
    wire.send(panel.model_id, {"kind": "choose", "source": "cria"})
    for thread in threads:
        thread.join(20)
    assert panel.error == ""
    assert panel.plan["source"] == panel.choice["source"] == "cria"


def test_the_twins_are_inert(panel: LoaderPanel) -> None:
    panel.models = {"models": [{"name": "<img src=x onerror=alert(1)>", "detail": "\x1b[31mred", "bytes": 1,
                                "current": True}]}  # fmt: skip
    assert "<img" not in panel.html_twin()
    assert "\x1b" not in panel.text_twin()
    assert "<script" not in panel.html_twin()


def test_a_closed_panel_hears_nothing(wire: Wire, caplog) -> None:
    panel = LoaderPanel()
    panel.fill()
    panel.close()
    registry.publish(registry.ModelsChanged())
    assert "failed" not in caplog.text


# --- in a kernel --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    folder = tmp_path_factory.mktemp("kernel")
    with Kernel(environment={"PYTHONPATH": str(ROOT), "LLAMA_NB_CHATS": "off"}, cwd=folder) as started:
        started.ok("%load_ext llama_nb\nimport llama_nb, sys")
        yield started


def test_a_watched_page_gets_the_panel_and_others_the_table(kernel: Kernel) -> None:
    shown = kernel.ok("%llama load")
    assert VIEW in shown.displays[0]["data"]
    assert MIME in shown.displays[0]["data"]
    assert kernel.evaluate("'torch' in sys.modules") is False
    batch = kernel.ok("%llama load", allow_stdin=False)
    assert [set(shown["data"]) for shown in batch.displays] == [{"text/plain", "text/html"}]
    assert "%llama load cria" in batch.text
    assert batch.comms == []


def test_a_load_from_the_page_prints_into_no_cell_and_blocks_none(kernel: Kernel) -> None:
    shown = kernel.ok("%llama load")
    panel = shown.displays[0]["data"][VIEW]["model_id"]
    choice = {"source": "cria", "quant": "none", "device": "auto", "context": 1024}
    kernel.send_comm(panel, {"method": "custom", "content": {"kind": "load", **choice}})
    began = time.monotonic()
    meanwhile = kernel.ok("1 + 1")
    assert time.monotonic() - began < 10
    later = kernel.ok(
        "import time\nend = time.monotonic() + 90\n"
        "while not llama_nb.loaded() and time.monotonic() < end: time.sleep(0.1)\nlist(llama_nb.loaded())"
    )
    assert later.text == "['cria']"
    for cell in (meanwhile, later):
        assert cell.stdout == ""
        assert cell.stderr == ""
        assert len(cell.displays) == 1
    assert kernel.ok('%llama chat "What is 1 + 1?" --temperature 0').text
