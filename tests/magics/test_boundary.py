import sys

import pytest

from llama_nb.core.errors import LlamaError, LoadError
from llama_nb.magics.boundary import MAX_LINES, ReplyInterrupted, debug_asked, few_lines


def lines_of(error, *, debug=False, colour=False):
    with pytest.raises(type(error)) as caught, few_lines(debug=debug, colour=colour):
        raise error
    assert caught.value is error
    render = getattr(error, "_render_traceback_", None)
    return render() if render else None


def test_our_error_is_its_message_and_its_hint():
    assert lines_of(LoadError("It is gone.", "Load it.")) == ["LoadError: It is gone.", "Load it."]


def test_only_the_name_is_coloured():
    assert lines_of(LoadError("It: gone."), colour=True) == ["\x1b[31mLoadError\x1b[39m: It: gone."]


def test_the_class_and_other_instances_stay_as_they_are():
    lines_of(LoadError("a"))
    assert not hasattr(LoadError("b"), "_render_traceback_")


def test_a_flood_of_lines_is_cut():
    lines = lines_of(LlamaError("\n".join(f"line {n}" for n in range(90)), "\n".join(["do"] * 90)))
    assert len(lines) <= MAX_LINES
    assert any("more lines" in line for line in lines)
    assert len(lines_of(ValueError("word " * 3000))) <= MAX_LINES


def test_an_unexpected_error_keeps_its_type_and_says_how_to_see_more():
    lines = lines_of(KeyError("x"))
    assert lines[0] == "KeyError: 'x'"
    assert "--debug" in lines[-1]


def test_debug_shows_what_python_shows():
    error = LoadError("a")
    lines_of(error)
    assert lines_of(error, debug=True) is None
    assert debug_asked("chat --debug hello")
    assert not debug_asked("chat hello")


def test_an_interrupt_is_one_line():
    assert lines_of(ReplyInterrupted(1)) == ["Stopped: 1 token kept in the chat; queued cells were not run."]
    assert len(lines_of(KeyboardInterrupt())) == 1


def test_leaving_the_interpreter_is_not_ours_to_explain():
    assert lines_of(SystemExit(0)) is None


def test_a_key_is_not_shown(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijkl")
    for error in (RuntimeError("401 for hf_abcdefghijkl"), LoadError("401 for hf_abcdefghijkl")):
        lines = lines_of(error)
        assert "401 for hf_" in lines[0]
        assert "hf_abcdefghijkl" not in "\n".join([*lines, str(error)])


def test_what_an_error_quotes_cannot_colour_or_hide_it():
    lines = lines_of(LlamaError("bad name '\x1b[2J\u202egnp'"))
    assert "\x1b" not in lines[0]
    assert "\u202e" not in lines[0]


def test_rendering_survives_the_end_of_the_except_block():
    def fail():
        with few_lines(debug=False):
            raise LoadError("late")

    try:
        fail()
    except LoadError:
        kept = sys.exc_info()[1]
    assert kept._render_traceback_()[0].endswith(": late")
