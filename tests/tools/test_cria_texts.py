"""The generator: repeatable, split without overlap, and true to its own judges."""

import contextlib
import io
import json

import pytest

from tools.cria import (
    code,
    conversation,
    copying,
    follow_ups,
    german,
    glossary,
    judging,
    obeying,
    outside,
    stories,
    sums,
    tool_calls,
)
from tools.cria.words import as_typed, held_out, seeded


def test_every_kind_of_conversation_is_a_function_of_its_seed():
    for kind, make in conversation.KINDS.items():
        assert make(seeded(3, kind)).pieces == make(seeded(3, kind)).pieces
        assert make(seeded(3, kind)).pieces != make(seeded(4, kind)).pieces


def test_at_least_sixty_questions_each_with_its_key_phrase_and_many_phrasings():
    assert len(glossary.ENTRIES) >= 80
    for entry in glossary.ENTRIES:
        assert entry.key.lower() in entry.core.lower(), entry
        assert entry.word
        assert " " not in entry.word
        phrasings = {glossary.ask(seeded("phrasings", n), entry=entry).question for n in range(60)}
        assert len(phrasings) >= 8
    names = [
        name for entry in glossary.ENTRIES for name in {n.lower() for n in (*entry.names, *entry.questions)}
    ]
    assert len(names) == len(set(names))


def test_no_word_of_one_answer_stands_for_two_questions():
    questions = {}
    for n in range(4000):
        exchange = glossary.ask(seeded("clash", n), held=n % 2 == 1)
        assert questions.setdefault(exchange.question.lower(), exchange.keys) == exchange.keys


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (glossary.PHRASINGS, glossary.HELD_OUT_PHRASINGS),
        (glossary.WRAPPERS, glossary.HELD_OUT_WRAPPERS),
        (outside.TEMPLATES, outside.HELD_OUT_TEMPLATES),
        (copying.all_phrasings(), copying.HELD_OUT_PHRASINGS),
        (sums.PHRASINGS, sums.HELD_OUT_PHRASINGS),
        (stories.PHRASINGS, stories.HELD_OUT_PHRASINGS),
        (code.PHRASINGS, code.HELD_OUT_PHRASINGS),
        (german.PHRASINGS, german.HELD_OUT_PHRASINGS),
        (german.WORD_PHRASINGS, german.HELD_OUT_WORD_PHRASINGS),
        *((obeying.WORDINGS[form], obeying.HELD_OUT_WORDINGS[form]) for form in obeying.FORMS),
        *((follow_ups.all_wordings(kind), follow_ups.HELD_OUT_WORDINGS[kind]) for kind in follow_ups.KINDS),
        *(
            (tool_calls.QUESTIONS[name], tool_calls.HELD_OUT_QUESTIONS[name])
            for name in tool_calls.PARAMETERS
        ),
    ],
)
def test_held_out_wordings_are_not_in_the_training_part(train, test):
    assert test
    assert not {text.lower() for text in train} & {text.lower() for text in test}


def test_held_out_strings_pairs_and_casts_never_come_up_in_training():
    for n in range(1500):
        rng = seeded("split", n)
        assert not held_out("copy", copying.syllables(rng, False))
        assert held_out("copy", copying.syllables(rng, True))
        assert not held_out("sum", *sums.pair(rng, False))
        assert held_out("sum", *sums.pair(rng, True))
        hero, animal = stories.cast(rng, False)
        assert not held_out("cast", hero, animal)
        assert not (hero in stories.HEROES and held_out("hero", hero, part=0.15))
    held = [(a, b) for a in range(100) for b in range(100) if held_out("sum", a, b)]
    assert 900 <= len(held) <= 1100


def test_functions_run_and_held_out_ones_never_come_up_in_training():
    asked = {code.ask(seeded("code", n)).keys[0] for n in range(1500)}
    held = {code.ask(seeded("held code", n), held=True).keys[0] for n in range(200)}
    assert not asked & held
    for n in range(60):
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code.file(seeded("file", n), 3), {})


def test_german_stories_agree_with_the_gender_of_their_animal():
    genders = {name: gender for _, name, gender in german.ANIMALS}
    for n in range(300):
        told = german.ask(seeded("german", n), held=n % 2 == 1)
        hero, animal = told.keys
        assert held_out("german", hero, animal) == (n % 2 == 1)
        for article, fitting in (("Der", "m"), ("Die", "f"), ("Das", "n")):
            if f"{article} {animal}" in told.answer:
                assert genders[animal] == fitting
        assert told.answer.count(animal) >= 1


def test_held_out_cities_and_fillers_never_come_up_in_training():
    for n in range(800):
        used = tool_calls.use(seeded("cities", n), ("weather", "clock")[n % 2])
        city = used.arguments["city"]
        assert city not in tool_calls.CITIES or not held_out("city", city, part=0.2)


def test_answers_in_a_form_satisfy_the_judge_and_others_do_not():
    for n in range(200):
        exchange = glossary.ask(seeded("forms", n), held=True)
        for form in obeying.FORMS:
            if obeying.can_take(exchange, form):
                assert obeying.obeys(obeying.in_form(exchange, form).answer, exchange, form)
                assert not obeying.obeys(exchange.plain.lower() + " and more", exchange, form)


def test_stories_name_hero_and_animal_and_are_short():
    for n in range(300):
        exchange = stories.ask(seeded("stories", n), held=n % 2 == 1)
        hero, animal = exchange.keys
        assert exchange.answer.count(hero) >= 2
        assert exchange.answer.count(animal) >= 2
        assert 35 <= len(exchange.answer.split()) <= 100
        assert "{" not in exchange.answer


def test_tool_uses_are_calls_that_json_reads():
    for n in range(90):
        used = tool_calls.use(seeded("tools", n), list(tool_calls.PARAMETERS)[n % 3], held=n % 2 == 1)
        call = judging.call_of(
            f"<|python_tag|>{json.dumps({'name': used.name, 'parameters': used.arguments})}"
        )
        assert call == {"name": used.name, "parameters": used.arguments}
        assert all(key in used.answer for key in used.keys)


def test_cases_of_the_evaluation_are_repeatable_and_as_many_as_said():
    for skill in judging.SKILLS:
        made = judging.cases(skill, 7)
        assert len(made) == skill.count
        assert [case.messages for case in made] == [case.messages for case in judging.cases(skill, 7)]


def test_variations_keep_names_and_numbers():
    assert {as_typed(seeded("t", n), "What is 4 + 5?", slips=False) for n in range(60)} >= {
        "What is 4 + 5",
        "What is 4 + 5?",
    }
