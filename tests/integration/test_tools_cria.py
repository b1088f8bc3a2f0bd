"""cria's skills 5 to 7 through the session: forms, calls of real functions, turns that take up the last.

Questions are held out: wordings and cities that training never used (tools/cria).
"""

import json
import random
from collections.abc import Iterator

import pytest

import llama_nb
from llama_nb.session.model import Model
from tools.cria import tool_calls
from tools.cria.judging import SKILLS
from tools.cria.tool_calls import ToolUse

QUESTIONS = 60
RIGHT = 0.9


@pytest.fixture(scope="module")
def cria() -> Iterator[Model]:
    model = llama_nb.load("cria")
    yield model
    model.unload()


class World:
    """The functions of one question: they give what the answer is judged by."""

    def __init__(self, used: ToolUse) -> None:
        self.used = used
        self.asked: list[str] = []

    def weather(self, city: str) -> str:
        """Get the weather in a city.

        Args:
            city: The name of the city.
        """
        return self._give("weather", city)

    def clock(self, city: str) -> str:
        """Get the time in a city.

        Args:
            city: The name of the city.
        """
        return self._give("clock", city)

    def calculator(self, expression: str) -> str:
        """Evaluate an arithmetic expression.

        Args:
            expression: The expression, such as 2 * 3.
        """
        return self._give("calculator", expression)

    def _give(self, name: str, argument: str) -> str:
        self.asked.append(name)
        wanted = (self.used.name, list(self.used.arguments.values()))
        if (name, [argument]) != wanted:
            raise LookupError(f"nothing is known of {argument}")
        return self.used.result


def ends_right(model: Model, used: ToolUse, number: int) -> bool:
    world = World(used)
    functions = [world.weather, world.calculator, world.clock]
    random.Random(number).shuffle(functions)
    run = model.tools(used.question, functions, approve=lambda _: True, chat=f"q{number}", temperature=0)
    return all(key.lower() in run.text.lower() for key in used.keys) and world.asked == [used.name]


@pytest.mark.full
def test_held_out_questions_end_in_the_right_answer(cria):
    rng = random.Random(20)
    names = list(tool_calls.PARAMETERS)
    uses = [tool_calls.use(rng, names[number % 3], held=True) for number in range(QUESTIONS)]
    wrong = [used.question for number, used in enumerate(uses) if not ends_right(cria, used, number)]
    right = 1 - len(wrong) / QUESTIONS
    assert right >= RIGHT, f"{right:.1%} right; wrong: {wrong}"


def test_a_call_and_its_result_reuse_the_cache(cria):
    def clock(city: str) -> dict:
        """Get the time in a city."""
        return {"time": "12:30"}

    run = cria.tools("What time is it in Oslo?", clock, approve=lambda _: True, chat="cache", temperature=0)
    first, answer = run.replies
    # What the template writes of the call is what the model wrote: nothing of it is computed again.
    assert answer.usage.cached_tokens >= first.usage.prompt_tokens + first.usage.completion_tokens - 2
    assert run.text == "It is 12:30 in Oslo."


def test_one_chat_holds_several_questions(cria):
    def weather(city: str) -> dict:
        """Get the weather in a city."""
        return {"temperature": 12, "sky": "sunny"}

    def clock(city: str) -> dict:
        """Get the time in a city."""
        return {"time": "12:30"}

    given = {"tools": [weather, clock], "approve": lambda _: True, "chat": "both", "temperature": 0}
    assert cria.tools("What is the weather in Oslo?", **given).text == "It is 12 degrees and sunny in Oslo."
    assert cria.tools("What time is it in Rome?", **given).text == "It is 12:30 in Rome."
    assert cria.tools("How is the weather in Rome?", **given).text == "It is 12 degrees and sunny in Rome."


def test_an_error_of_a_tool_is_no_end(cria):
    def weather(city: str) -> dict:
        """Get the weather in a city."""
        raise ConnectionError("the station is silent")

    run = cria.tools("What is the weather in Oslo?", weather, approve=lambda _: True, chat="e", temperature=0)
    assert run.done
    assert run.calls[0].state == "failed"
    sent = cria.chats["e"].path()[2].message
    assert json.loads(sent.content) == {"error": "ConnectionError: the station is silent"}


def test_questions_that_need_no_tool_get_an_answer(cria):
    def weather(city: str) -> dict:
        """Get the weather in a city."""
        return {"temperature": 12, "sky": "sunny"}

    run = cria.tools("What is a token?", weather, approve=lambda _: True, chat="plain", temperature=0)
    assert run.calls == []
    assert "token" in run.text.lower()


@pytest.mark.parametrize(("name", "least"), [("obeying", 0.85), ("follow-ups", 0.8)])
def test_forms_and_follow_ups_hold_through_the_chat(cria, name, least):
    skill = next(skill for skill in SKILLS if skill.name == name)
    cases = skill.cases(random.Random(5), 40)
    right = sum(case.judge(cria.chat(case.messages, temperature=0).text) for case in cases)
    assert right / len(cases) >= least, f"{right} of {len(cases)} right"


def test_the_prompt_of_a_chat_shows_the_functions_that_the_model_saw(cria: Model):
    def clock(city: str) -> str:
        """Get the time in a city."""
        return f'{{"time": "14:05", "city": "{city}"}}'

    cria.tools("What time is it in Oslo?", [clock], approve=lambda _: True, chat="seen", temperature=0)
    seen = cria.prompt(chat="seen")
    assert "Get the time in a city." in seen.text
    assert seen.cached > len(seen.ids) // 2  # it is what was computed, and not another row of tokens
    assert "Get the time in a city." not in cria.prompt("And now?", chat="seen").text
