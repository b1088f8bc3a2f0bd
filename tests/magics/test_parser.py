import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_nb.core.errors import LlamaError, SamplingError
from llama_nb.magics import verbs
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.generation import sampling_from
from llama_nb.magics.parser import VerbParser, cut, split_line

VERBS = verbs.names()


def chat(line):
    return verbs.parser("chat").parse_line(line)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("what is rope?", "what is rope?"),
        ('"what is rope?"', "what is rope?"),
        ("'what is rope?'", "what is rope?"),
        ("don't  stop", "don't  stop"),
        ("'tis the season", "'tis the season"),
        ('"don\'t"', "don't"),
        ("'don\\'t'", "don't"),
        ('say "hi" to me', 'say "hi" to me'),
        ('"hi" and "bye"', '"hi" and "bye"'),
        ("{'foo': 'bar'} $HOME", "{'foo': 'bar'} $HOME"),
        ('{"a": "b --seed 3"}', '{"a": "b --seed 3"}'),
        ("{{ x --y }} is", "{{ x --y }} is"),
        ("what does a -- mean", "what does a -- mean"),
        ("what does rm -o -rf do", "what does rm -o -rf do"),
        ("-5 + 3", "-5 + 3"),
        ("-- --temperature is what?", "--temperature is what?"),
        ("C:\\temp \\alpha", "C:\\temp \\alpha"),
        ("cout << x", "cout << x"),
        ('"a \\n b"', "a \\n b"),
        ("", ""),
        ('""', ""),
    ],
)
def test_a_message_survives_as_typed(line, message):
    assert chat(line).message == message


@pytest.mark.parametrize(
    "line",
    [
        "--temperature 0.2 --seed=3 what is rope?",
        "what is rope? --temperature 0.2 --seed 3",
        "what is --temperature=0.2 rope? --seed '3'",
        '"what is rope?" --seed 3 --temperature 0.2',
        "-o temperature 0.2 --seed 3 what is rope?",
    ],
)
def test_options_may_stand_before_and_after_the_message(line):
    args = chat(line)
    assert args.message == "what is rope?"
    assert sampling_from(args) == {"temperature": 0.2, "seed": 3}


def test_a_value_may_be_quoted_begin_with_a_dash_or_hold_an_apostrophe():
    args = chat(
        """--system "You're {one}, don't you $know" --stop="a b" --stop "--" --chat='my chat' hello"""
    )
    assert args.system == "You're {one}, don't you $know"
    assert args.stop == ["a b", "--"]
    assert args.chat == "my chat"
    assert args.message == "hello"


def test_stop_strings_know_new_lines():
    assert sampling_from(chat(r'--stop "\n\n" hello'))["stop"] == ("\n\n",)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("--temprature 1 hello", ["--temprature", "--temperature", "quotes"]),
        ("--top_p 0.5 hello", ["--top_p", "--top-p"]),
        ("--temperature", ["--temperature needs a value"]),
        ("--system --seed 3 hello", ["--system needs a value"]),
        ("-o temperature", ["-o needs a value"]),
        ("--overflow drop-odlest hello", ["--overflow", "Did you mean 'drop-oldest'?", "error"]),
        ("--raw=1 hello", ["raw"]),
    ],
)
def test_a_mistake_on_the_line_is_named(line, names, capfd):
    with pytest.raises(CommandError) as caught:
        chat(line)
    for name in names:
        assert name in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "line",
    [
        "--temperature hot",
        "--top-p 1.5",
        "--top-p 0",
        "--max-tokens 0",
        "--max-tokens -5",
        "--top-k 1.5",
        "--seed -1",
        "-o temprature 1",
        "--stop ''",
        "--min-p nan",
    ],
)
def test_values_are_checked_by_the_samplings_own_ranges(line):
    with pytest.raises(SamplingError):
        sampling_from(chat(line + " hello"))


def test_a_parameter_given_twice_is_refused():
    with pytest.raises(CommandError, match="twice"):
        sampling_from(chat("--seed 1 -o seed 2 hello"))


@pytest.mark.parametrize(
    ("line", "cell", "verb", "rest", "keep"),
    [
        ("", False, "help", "", None),
        ("", True, "chat", "", None),
        ("chat what is x << 3", False, "chat", "what is x << 3", None),
        ("chat r <<", True, "chat", "", "r"),
        ("r <<", True, "chat", "", "r"),
        ("chat r<< --seed 1", True, "chat", "--seed 1", "r"),
        ("chat --seed 1 r <<", True, "chat", "--seed 1", "r"),
        ("--temperature 0", True, "chat", "--temperature 0", None),
        ("--temperature 0 hello", False, "chat", "--temperature 0 hello", None),
        ("complete été <<", True, "complete", "", "été"),
        ("  load   cria ", False, "load", "cria", None),
    ],
)
def test_a_line_is_cut_into_verb_name_and_rest(line, cell, verb, rest, keep):
    command = split_line(line, VERBS, cell=cell)
    assert (command.verb, command.rest, command.keep) == (verb, rest, keep)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("laod cria", ["'laod'", "'load'"]),
        ("what is rope?", ["'what'", "%llama chat what is rope?"]),
        ("xyzzy", ["'xyzzy'", "chat"]),
    ],
)
def test_an_unknown_verb_is_named_with_the_nearest(line, names):
    with pytest.raises(CommandError) as caught:
        split_line(line, VERBS, cell=False)
    for name in names:
        assert name in str(caught.value)


@pytest.mark.parametrize("line", ["chat 2r <<", "chat class <<", "chat a.b <<"])
def test_a_name_that_cannot_be_a_variable_is_refused(line):
    with pytest.raises(CommandError, match="variable"):
        split_line(line, VERBS, cell=True)


def test_words_that_a_verb_does_not_take_are_refused():
    with pytest.raises(CommandError, match="unrecognized arguments: b"):
        verbs.parser("use").parse_line("a b")


@given(st.text(max_size=60))
def test_any_line_is_parsed_or_refused_with_our_error(line):
    try:
        command = split_line(line, VERBS, cell=True)
        verbs.parser(command.verb).parse_line(command.rest)
    except LlamaError:
        pass


@given(st.text(alphabet="ab '\"{}[]\\=-", max_size=40))
def test_words_are_slices_of_the_line_in_order(line):
    words = list(cut(line))
    assert all(word.start < word.end for word in words)
    assert all(first.end <= second.start for first, second in itertools.pairwise(words))
    covered = "".join(line[word.start : word.end] for word in words)
    assert covered.replace(" ", "") == line.replace(" ", "")


def test_a_whole_number_is_read_as_one_and_what_is_none_is_named():
    parser = VerbParser("load")
    parser.add_argument("--context", type=int)
    parser.add_argument("place", nargs="?", type=int)
    read = parser.parse_line("-- -3")
    assert (read.context, read.place) == (None, -3)
    assert parser.parse_line("--context 512").context == 512
    assert parser.parse_line("--context=-1").context == -1
    with pytest.raises(CommandError, match="--context: invalid int value: 'many'"):
        parser.parse_line("--context many")


@pytest.mark.parametrize(
    ("line", "source", "replay", "name"),
    [
        ("cria", "cria", None, None),
        ("cria --replay", "cria", True, None),
        ("cria --replay a.jsonl", "cria", "a.jsonl", None),
        ("cria --replay='a b.jsonl'", "cria", "a b.jsonl", None),
        ("cria --replay '--odd'", "cria", "--odd", None),
        ("cria --replay --name x", "cria", True, "x"),
        ("--name x --replay a.jsonl cria", "cria", "a.jsonl", "x"),
        ("--replay", None, True, None),
    ],
)
def test_an_options_value_may_be_left_out(line, source, replay, name):
    args = verbs.parser("load").parse_line(line)
    assert (args.source, args.replay, args.name) == (source, replay, name)
