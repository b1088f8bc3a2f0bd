import pytest

from llama_nb.core.errors import LlamaError, SamplingError
from llama_nb.magics import verbs
from llama_nb.magics.commands.help import explain
from llama_nb.runtime import settings
from llama_nb.session.reply import Reply
from tests.magics import fake


def test_a_cell_is_a_message(shell, model):
    cell = shell("%%llama\nhello  $HOME {x} don't\n")
    assert cell.ok
    assert model.engine.requests[-1].input[-1].content == "hello  $HOME {x} don't"
    assert isinstance(cell.value, Reply)


def test_a_line_is_an_expression(shell, model):
    assert shell('r = %llama chat "what\'s up?"').ok
    assert shell.names["r"].text == "echo: what's up? "


def test_a_cell_keeps_its_reply(shell, model):
    cell = shell("%%llama chat r << --max-tokens 2\none two three")
    assert cell.value is None
    assert shell.names["r"].text == "echo: one "


def test_a_loop_sends_its_variable(shell, model):
    shell("for word in ['a', 'b']:\n    %llama chat say {{ word }}")
    assert [request.input[-1].content for request in model.engine.requests] == ["say a", "say b"]


def test_a_function_sends_its_local_variable(shell, model):
    assert shell("def ask(word):\n    r = %llama chat \"say {{ word }}\"\n    return r\nr = ask('x')").ok
    assert shell.names["r"].user == "say x"


def test_raw_sends_braces_as_typed(shell, model):
    shell("%%llama --raw\n{{ missing }}")
    assert model.engine.requests[-1].input[-1].content == "{{ missing }}"


def test_a_missing_name_sends_nothing(shell, model):
    shell.names["frame"] = 1
    cell = shell("%%llama\nlook at {{ fram }}")
    assert "'fram'" in cell.out
    assert "'frame'" in cell.out
    assert not model.engine.requests
    assert not cell.ok


def test_options_reach_the_model(shell, model):
    shell("%%llama --temperature 0 --stop x --system 'Be {{ how }}' --chat side\nhi")
    assert not model.engine.requests  # `how` is missing
    shell.names["how"] = "brief"
    shell("%%llama --temperature 0 --stop x --system 'Be {{ how }}' --chat side --seed 3\nhi")
    request = model.engine.requests[-1]
    assert request.sampling.temperature == 0
    assert request.sampling.stop == ("x",)
    assert request.sampling.seed == 3
    assert [message.content for message in request.input] == ["Be brief", "hi"]
    assert model.chats["side"].turn_count() == 1


def test_a_named_model_answers(shell, model):
    other = fake.install("other")
    shell("%llama use fake")
    shell("%llama chat --model other hello")
    assert len(other.engine.requests) == 1
    assert not model.engine.requests


def test_a_background_reply_is_pending(shell, model):
    fake.install(pace_s=0.02)
    assert shell("r = %llama chat --bg count 20").ok
    reply = shell.names["r"]
    assert not reply.done
    assert shell("%llama stop").value.text == "Stopped 1 reply."
    assert reply.wait(5).finish.reason == "stopped"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("%llama chat what is rope?", "what is rope?"),
        ("r = %llama chat what is rope?", "what is rope?"),
        ("if 1:\n    %llama chat (why?) rope?\nx = 1", "(why?) rope?"),
        ("# a question\n%llama chat rope??", "rope??"),
        ("%llama chat don't stop (now\nx = 1", "don't stop (now"),
        ("%llama chat 'tis $HOME {x}\ny = 'it'", "'tis $HOME {x}"),
    ],
)
def test_a_line_is_sent_as_typed(shell, model, code, message):
    cell = shell(code)
    assert cell.ok, cell.out
    assert [request.input[-1].content for request in model.engine.requests] == [message]


def test_a_question_mark_in_a_text_of_many_lines_is_left_alone(shell, model):
    assert shell("t = '''\n%llama chat rope?\n'''").ok
    assert shell.names["t"] == "\n%llama chat rope?\n"
    assert not model.engine.requests


def test_a_question_mark_after_a_verb_is_help(shell):
    assert shell("%llama chat?").value.text == explain("chat")
    assert shell("%llama tokens --help").value.text == explain("tokens")


def test_a_comment_after_a_command_is_no_argument(shell, model):
    assert shell("%llama status  # what is there").ok


def test_complete_sends_the_text_to_its_last_character(shell, model):
    shell("%%llama complete\n  Once upon \n\n")
    assert model.engine.requests[-1].input == "  Once upon \n"


def test_text_on_the_line_and_in_the_cell_is_refused(shell, model):
    cell = shell("%%llama chat r\nhello")
    assert "%%llama chat r <<" in cell.out
    assert not model.engine.requests


@pytest.mark.parametrize(
    "code", ["%%llama", "%%llama\n", "%%llama chat", "%%llama chat\n  \n", "%llama chat", '%llama chat ""']
)
def test_an_empty_message_is_not_sent(shell, model, code):
    cell = shell(code)
    assert not cell.ok
    assert isinstance(cell.error, LlamaError)
    assert "Nothing to send" in cell.out
    assert not model.engine.requests


def test_settings_hold_for_the_session(shell, model):
    shell("%llama set temperature 0.25")
    shell("%llama chat hello")
    assert model.engine.requests[-1].sampling.temperature == 0.25
    assert "0.25" in repr(shell("%llama set").value)
    assert "0.25" in repr(shell("%llama set temperature").value)
    shell("%llama set --reset temperature")
    assert settings.get_sampling_overrides() == {}
    shell("%llama set max-tokens 7")
    shell("%llama set stop x")
    assert settings.get_sampling_overrides() == {"max_tokens": 7, "stop": ("x",)}
    shell("%llama set --reset")
    assert settings.get_sampling_overrides() == {}


@pytest.mark.parametrize(
    "line", ["set temperature hot", "set temprature 1", "set top-p 0", "set --reset nope", "set nope"]
)
def test_a_wrong_setting_changes_nothing(shell, line):
    cell = shell(f"%llama {line}")
    assert isinstance(cell.error, SamplingError)
    assert settings.get_sampling_overrides() == {}


def test_chats_are_made_used_cleared_and_deleted(shell, model):
    shell("%llama chats new sums")
    shell("%llama chat two and two")
    assert model.chats["sums"].turn_count() == 1
    listing = repr(shell("%llama chats").value)
    assert "sums" in listing
    assert "current" in listing
    shell("%llama chats clear")
    assert model.chats["sums"].turn_count() == 0
    shell("%llama chats use main")
    assert model.chats.current == "main"
    shell("%llama chats delete sums")
    assert "sums" not in model.chats


@pytest.mark.parametrize(
    "line",
    [
        "chats nwe x",
        "chats new",
        "chats use nope",
        "chats new main",
        "chats delete",
        "use nope",
        "unload nope",
        "prompt",
        "tokens",
        "help nope",
        "chat --chat ' ' hi",
        "load ./nope-nope",
        "load nope --dtype fp17",
    ],
)
def test_a_mistake_is_a_few_lines_and_ours(shell, model, line):
    cell = shell(f"%llama {line}")
    assert isinstance(cell.error, LlamaError), cell.out
    assert 1 <= len(cell.out.strip().splitlines()) <= 12
    assert "Traceback" not in cell.out
    assert cell.err == ""


def test_models_are_listed_used_and_unloaded(shell, model):
    fake.install("other")
    assert "other" in repr(shell("%llama models").value)
    status = repr(shell("%llama status").value)
    assert "10.4 MB" in status
    assert "2.60 M" in status
    assert shell("%llama use fake").value is model
    assert "Unloaded fake" in repr(shell("%llama unload").value)
    assert not model.alive
    assert "Unloaded other" in repr(shell("%llama unload other --force").value)


def test_status_and_use_say_when_nothing_is_loaded(shell):
    assert "%llama load cria" in repr(shell("%llama status").value)
    assert "%llama load cria" in shell("%llama use").out


def test_prompt_and_tokens_are_values(shell, model):
    assert shell('v = %llama tokens "two words"').ok
    assert len(shell.names["v"]) == 2
    assert shell("%%llama tokens v <<\none two three").ok
    assert len(shell.names["v"]) == 3
    assert shell("p = %llama prompt what would you see?").ok
    assert "what would you see?" in shell.names["p"].text


def test_help_explains_every_verb_and_the_docstring_names_it():
    from llama_nb.magics.extension import LlamaMagics

    for verb in verbs.names():
        text = explain(verb)
        assert "Examples:" in text
        assert verbs.summary(verb)
        assert all(len(line) <= 110 for line in text.splitlines()), verb
        assert f"llama {verb}" in LlamaMagics.llama.__doc__, verb


def test_the_magic_itself_can_be_asked(shell):
    assert "%%llama complete" in shell("%llama?").out + str(shell("%%llama?").displays)


def test_help_is_also_an_option(shell):
    assert shell("%llama chat --help").value.text == explain("chat")
    assert shell("%llama").value.text == shell("%llama help").value.text


# They have tests of their own: on real weights, and so that a developer stays logged in.
ELSEWHERE = {
    *("load", "unload", "doctor", "login", "logout", "quantize", "json", "batch", "tools"),
    *("adapter", "branch", "continue", "sampling", "compare"),
    *("adapter", "convert"),
    *("ablate", "anatomy", "attention", "heads", "lens", "patch", "route", "routing", "runs", "train"),
}


def test_every_example_runs(shell, model, tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMA_NB_HOME", str(tmp_path))  # a developer's own presets stay
    monkeypatch.chdir(tmp_path)
    fake.install("cria")
    shell("%llama chat hi")
    for verb in verbs.names():
        if verb in ELSEWHERE:
            continue
        for example in verbs.find(verb).EXAMPLES:
            if example == "%llama chat":
                continue  # it opens the panel, in a page
            cell = shell(example)
            assert cell.ok, (verb, example, cell.out)
