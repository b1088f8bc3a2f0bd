"""Presets, settings, notes and why, through the magics: with the scripted model, and on cria in a kernel."""

import re

import pytest

from llama_nb.core.errors import LlamaError
from llama_nb.core.presets import PRESETS
from llama_nb.core.sampling import FIELDS, GROUPS
from llama_nb.magics.commands.help import explain
from llama_nb.magics.completion import candidates
from llama_nb.runtime import presets, settings
from tests.conftest import ROOT
from tests.kernel import Kernel
from tests.render.html_reader import read


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMA_NB_HOME", str(tmp_path))
    return tmp_path


def test_every_parameter_is_in_one_group():
    assert sorted(name for members in GROUPS.values() for name in members) == sorted(FIELDS)
    assert len(GROUPS["Sampling"]) == 6


@pytest.mark.parametrize("verb", ["chat", "complete", "why", "set"])
def test_help_puts_the_six_core_parameters_first_and_groups_the_rest(verb):
    text = explain(verb)
    places = [text.index(f"\n{title}:\n") for title in ("Options", *GROUPS)]
    assert places == sorted(places)
    core = text[places[1] : places[2]]
    for name in GROUPS["Sampling"]:
        assert f"--{name.replace('_', '-')} " in core
    assert "--preset NAME" in core
    for name in FIELDS:
        assert len(re.findall(rf"^  --{name.replace('_', '-')}\b", text, re.MULTILINE)) == 1, name


def test_a_preset_shapes_a_reply_and_options_beside_it_win(shell, model):
    r = shell("r = %llama chat --preset creative --temperature 0.2 hi") and shell.names["r"]
    assert (r.sampling.temperature, r.sampling.min_p) == (0.2, 0.05)
    settings.set_sampling("top_k", 5)
    assert model.chat("hi", preset="precise").sampling.top_k == 0
    assert model.complete("hi", preset="precise", top_k=9).sampling.top_k == 9
    assert r.rerun(preset="deterministic").sampling.greedy
    assert r.rerun(preset="creative", temperature=0.5).sampling.temperature == 0.5


def test_a_preset_can_hold_for_the_session_be_saved_listed_and_deleted(shell, model):
    shown = repr(shell("%llama set --preset precise --min-p 0.1").value)
    assert "temperature is now 0.3" in shown
    assert settings.get_sampling_overrides()["min_p"] == 0.1
    assert "Saved preset mine" in repr(shell("%llama presets --save mine").value)
    assert "Replaced preset mine" in repr(shell("%llama presets --save mine").value)
    listed = repr(shell("%llama presets").value)
    assert all(name in listed for name in [*PRESETS, "mine", "yours", "github.com/meta-llama/llama,"])
    settings.clear_sampling()
    assert model.chat("hi", preset="mine").sampling.min_p == 0.1
    assert "deleted" in repr(shell("%llama presets --delete mine").value)
    assert "mine" not in repr(shell("%llama presets").value)


def test_tab_offers_presets_and_stages(shell):
    presets.save("mine", {"top_k": 3})
    assert {"creative", "llama-3.1", "mine"} <= set(candidates("%%llama --preset "))
    assert candidates("%llama set --preset cre") == ["creative"]
    assert candidates("%llama presets --delete ") == ["mine"]
    assert "top_p" in candidates("%llama chat --order ")


REFUSED = [
    ("%llama chat --preset creativ hi", "'creative'"),
    ("%llama set --preset creativ", "'creative'"),
    ("%llama presets --save creative", "built-in"),
    ("%llama presets --save mine", "Nothing is set"),
    ("%llama presets --delete mine", "no preset 'mine'"),
    ("%llama presets --save a --delete b", "two things"),
    ("%llama set --reset --temperature 1", "--reset takes no value"),
    ("%llama set top_k --temperature 1", "There is a name"),
    ("%llama set --temperature hot", "not a number"),
    ("%llama set --top-k 3 --temperature hot", "not a number"),
    ("%llama why", "no reply yet"),
    ("%llama why --by colour hi", "--by is 'colour'"),
    ("%llama chat --why --bg hi", "--bg returns before"),
    ("%llama why --bg hi", "--bg returns before"),
]


@pytest.mark.parametrize(("line", "says"), REFUSED, ids=[line for line, _ in REFUSED])
def test_mistakes_are_named_and_change_nothing(shell, model, line, says):
    if "--save mine" not in line:
        settings.set_sampling("seed", 1)
    before = settings.get_sampling_overrides()
    cell = shell(line)
    assert isinstance(cell.error, LlamaError), cell.out
    assert says in str(cell.error)
    assert settings.get_sampling_overrides() == before
    assert not model.chats["main"].path()


def test_a_damaged_file_of_presets_stops_no_chat_that_names_none(shell, model, home):
    (home / "presets.json").write_text('{"mine": {"temperature": "hot"}}')
    assert shell("r = %llama chat hi").ok
    assert shell("r = %llama chat --preset creative hi").ok
    error = str(shell("r = %llama chat --preset mine hi").error)
    assert all(part in error for part in ("presets.json", "'mine'", "'temperature'", "'hot'"))
    listed = repr(shell("%llama presets").value)
    assert "creative" in listed
    assert "presets.json" in listed


def test_a_parameter_without_effect_is_noted_where_it_was_asked_for(shell, model):
    noted = model.chat("hi", temperature=0, top_p=0.5, top_k=3, seed=1).notes
    assert noted == ["top_p and top_k have no effect: at temperature 0 the likeliest token is always taken."]
    assert model.chat("hi", temperature=0).notes == []
    assert model.chat("hi", temperature=0, seed=1).notes == []
    assert model.complete("hi", xtc_threshold=0.2).notes == [
        "xtc_threshold has no effect: xtc_probability is off."
    ]
    settings.set_sampling("temperature", 0)
    assert "min_p has no effect" in model.chat("hi", min_p=0.1).notes[0]
    assert model.chat("hi", preset="creative").notes == []
    cell = shell("%%llama --min-p 0.1\nhi")
    assert "min_p has no effect" in cell.out + str([shown.data for shown in cell.displays])


def test_settings_say_what_has_no_effect(shell, model):
    shell("%llama set temperature 0")
    assert "top_k has no effect: at temperature 0" in repr(shell("%llama set top_k 5").value)
    shown = repr(shell("%llama set").value)
    assert re.search(r"top_k +5 +set here; no effect: at temperature 0", shown)
    assert [shown.index(f"{title}:") for title in GROUPS] == sorted(
        shown.index(f"{title}:") for title in GROUPS
    )


def test_texts_can_be_set_for_the_session(shell, model):
    assert shell(r'%llama set --banned park --banned "big dog" --dry-breakers \n').ok
    assert shell('%llama set --logit-bias {"sun": 2} --order top_p,temperature').ok
    assert shell("%llama set stop x").ok
    assert settings.get_sampling_overrides() == {
        "banned": ("park", "big dog"),
        "dry_breakers": ("\n",),
        "logit_bias": (("sun", 2.0),),
        "order": ("top_p", "temperature"),
        "stop": ("x",),
    }


def test_why_is_a_value_and_an_option(shell, model):
    assert shell("%%llama why w <<\nhello there").ok
    view = shell.names["w"]
    assert view.reply.text == "echo: hello there "
    assert len(view) == 3
    assert shell("v = %llama why --by entropy").ok
    assert shell.names["v"].by == "entropy"
    assert shell.names["v"].reply is view.reply
    cell = shell("%%llama chat r << --why --temperature 0.5\nagain")
    shown = [str(output.data.get("text/plain")) for output in cell.displays]
    assert any("2 tokens by probability" in text for text in [*shown, cell.out])
    assert shell.names["r"].text == "echo: again "


# --- in a kernel, on the bundled model --------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("why")
    variables = {"PYTHONPATH": str(ROOT), "LLAMA_NB_HOME": str(folder / "home")}
    with Kernel(environment=variables, cwd=folder) as running:
        running.ok("%load_ext llama_nb\nm = %llama load cria")
        yield running


@pytest.mark.kernel
def test_why_on_cria_watched_and_unwatched(kernel):
    ask = "%%llama why --temperature 1.5 --seed 3 --max-tokens 12\nWhat is a token?"
    watched = kernel.ok(ask)
    view = watched.outputs[-1]["data"]
    assert "12 tokens by probability" in view["text/plain"]
    assert read(view["text/html"]).faults == []
    assert 'title="token 0, id' in view["text/html"]
    runs = []
    for _ in range(2):
        kernel.ok("%llama chats clear", allow_stdin=False)
        runs.append([output["data"] for output in kernel.ok(ask, allow_stdin=False).outputs])
    assert runs[0] == runs[1]
    assert len(runs[0]) == 2
    assert not re.search(r"\d\d\.\d %|0\.\d{3,} %", runs[0][1]["text/plain"])


@pytest.mark.kernel
def test_the_end_of_a_turn_is_a_pill(kernel):
    kernel.ok("r = %llama chat --text --temperature 0 --max-tokens 200 What is a token?")
    assert kernel.evaluate("r.finish.reason") == "end"
    shown = kernel.ok("r.why()").value
    assert "<|eot_id|>" in shown["text/plain"]
    assert re.search(r"border-radius:9px[^>]*>&lt;\|eot_id\|&gt;", shown["text/html"])


@pytest.mark.kernel
def test_a_distribution_is_shown_and_a_preset_is_kept_over_kernels(kernel):
    shown = kernel.ok("m.distribution('A token is', preset='balanced')").value
    assert "the next token after 'A token is'" in shown["text/plain"]
    assert read(shown["text/html"]).faults == []
    kernel.ok("%llama set --temperature 0.4\n%llama presets --save calm\n%llama set --reset")
    assert kernel.evaluate("m.chat('hi', preset='calm', max_tokens=2).sampling.temperature") == 0.4
    assert kernel.complete("%%llama --preset cal") == ["calm"]


@pytest.mark.kernel
def test_a_kernel_that_only_loads_the_extension_imports_no_torch(tmp_path):
    with Kernel(environment={"PYTHONPATH": str(ROOT)}, cwd=tmp_path) as bare:
        bare.ok("%load_ext llama_nb\n%llama presets\n%llama set --preset creative\n%llama help chat")
        assert bare.evaluate("'torch' in __import__('sys').modules") is False
