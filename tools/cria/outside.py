"""What cria does not know, and small talk.

Questions outside the glossary get an honest "I don't know"; fillers and templates are split into a
training and a held-out part by hash.
"""

import random

from tools.cria.exchange import Exchange
from tools.cria.glossary import HELD_OUT_PHRASINGS, PHRASINGS, bare, phrase
from tools.cria.stories import ANIMALS, HEROES
from tools.cria.words import as_typed, choose, held_out, invented_word

PLACES = """France Spain Italy Norway Peru Chile Japan China India Kenya Egypt Ghana Canada Brazil Cuba Greece Poland
Turkey Iran Iraq Nepal Fiji Malta Cyprus Sweden Finland Denmark Iceland Ireland Portugal Austria Hungary Bolivia Mali
Chad Niger Laos Vietnam Thailand Mexico Panama Samoa Tonga Oman Qatar Jordan Israel Syria Latvia Estonia""".split()
DISHES = """bread soup rice pasta pizza fish potatoes pancakes eggs beans curry salad stew risotto dumplings cake cookies
lentils chicken tofu jam waffles pie noodles porridge""".split()
THINGS = """a bicycle|the moon|photosynthesis|a volcano|gravity|an atom|a dinosaur|the ocean|a bridge|inflation|democracy
|a river|a guitar|an airplane|the heart|a camera|a rainbow|a whale|chess|a planet|an engine|the stock market|a vaccine
|a castle|a poem|a triangle|electricity|a magnet|the brain|a mushroom|a violin|a glacier|a comet|yoga|a telescope
|an earthquake|history|a cactus|a robot vacuum|a submarine|jazz|a tornado|coffee|a lighthouse|a penguin|opera|a desert
|a carpet|the sun|a black hole|iron|a sandwich|football|a carburetor|blockchain|a mortgage|a piano|a bee|tea
|a horse|the Roman Empire|a printer|a battery|an elephant|plastic|a satellite|a garden|skiing|a spider|a ship""".replace("\n", "").split("|")  # fmt: skip
PEOPLE = """Anna Bob Carlos Dora Einstein Napoleon Cleopatra Mozart Shakespeare Darwin Newton Gandhi Picasso Galileo
Beethoven Columbus Aristotle Hannah Viktor Salma Igor Beatrice Edison Tesla Plato Homer Columba Magellan""".split()
SPORTS = "soccer tennis hockey golf rugby cricket boxing swimming cycling basketball".split()

TEMPLATES = (
    "What is the capital of {place}?", "How many people live in {place}?", "Where is {place}?", "How do I cook {dish}?",
    "Give me a recipe for {dish}.", "Who is {person}?", "When was {person} born?", "Who won the {sport} game?",
    "What are the rules of {sport}?", "Which language is spoken in {place}?", "Is {place} bigger than {place2}?",
    "How long does it take to cook {dish}?", "What did {person} do?", "Who is the president of {place}?",
    "How do I get to {place}?", "How much does {thing} cost?", "How does {thing} work?", "Who invented {thing}?",
    "Who won the {sport} final in {year}?", "What happened in {year}?", "Write a poem about {thing}.",
    "Translate {dish} into French.", "What is the best {sport} team?", "Where can I buy {thing}?", "How old is {person}?",
    "What should I eat today?", "What is the time?", "What day is it?", "What is the weather in {place}?",
    "Do you like {dish}?", "Why is the sky blue?", "What is the square root of {year}?", "Where do I live?",
    "Which river is the longest in {place}?", "Can you book a flight to {place}?",
)  # fmt: skip
HELD_OUT_TEMPLATES = (
    "What is the population of {place}?", "How do you make {dish}?", "Where was {person} born?", "Who plays {sport} best?",
    "What is the currency of {place}?", "Why did {person} become famous?", "When was {thing} invented?",
    "Which city is the largest in {place}?",
)  # fmt: skip
MORE_TEMPLATES = (
    "What is the area of {place}?", "What is the flag of {place}?", "What is the climate of {place}?",
    "What is the history of {place}?", "What is the coast of {place} like?", "What is the name of the king of {place}?",
    "How do you play {sport}?", "How do you repair {thing}?", "How do you draw {thing}?", "How do you serve {dish}?",
    "How do you say {dish} in French?", "What is the price of {thing}?", "What is the size of {thing}?",
    "What is the difference between {place} and {place2}?", "Who is the father of {person}?",
)  # fmt: skip
NO_SUMS = ("What is {a} * {b}?", "What is {a} - {b}?", "{a} * {b}", "{a} - {b}", "What is {a} times {b}?", "What is {a} minus {b}?",
           "{a} divided by {b}?", "What is {a} + {c}?", "{c} + {a}", "What is {c} + {b}?", "{c} plus {c}?")  # fmt: skip
HELD_OUT_NO_SUMS = ("How much is {a} times {b}?", "How much is {a} minus {b}?", "What is {a} / {b}?")
MORE_NO_SUMS = ("How much is {a} * {b}?", "How much is {a} - {b}?", "Calculate {a} minus {b}.", "Compute {a} * {b}.",
                "Tell me {a} times {b}.", "What is {a} divided by {b}?", "Compute {a} minus {b}", "{a} times {b}?",
                "{a} minus {b}?", "Subtract {a} from {b}.", "Multiply {a} by {b}.")  # fmt: skip
EVERYDAY = """water street bread chair window paper pencil table garden mountain school teacher doctor city country money
market bottle spoon knife plate shirt shoe hat rain snow wind cloud star earth stone sand glass wood metal gold silver
paint picture song dance game ball party letter story book page pocket clock mirror candle blanket pillow roof wall door
bathroom kitchen hospital airport station ticket bus train truck motor wheel road hotel beach island forest flower leaf
root fruit apple orange lemon banana carrot tomato onion pepper salt sugar butter milk honey chocolate dinner breakfast
king queen soldier farmer pilot sailor painter actor writer prince princess parade poster pottery puzzle pyramid""".split()
UNKNOWN = (
    "I don't know. I only know about Llama and language models.",
    "I don't know that. I am a very small model.",
    "I don't know. Ask me about tokens, attention or Llama.",
)
_TALK: tuple[tuple[str, str, str], ...] = (
    ("Hello!|Hi!|Hi|Hello|Hey|Good morning!|Good evening!|Hello cria!|Hi there!|Hey there", "Hello! I am cria. Ask me about language models.", "Hello"),
    ("Thanks!|Thank you!|Thank you very much.|Thanks a lot!|Great, thanks.|Perfect, thank you.", "You are welcome!", "Welcome"),
    ("Bye!|Goodbye!|See you later.|Good night!|Bye bye", "Goodbye! Come back soon.", "Goodbye"),
    ("How are you?|How are you today?|Are you well?|How is it going?", "I am fine, thank you. What would you like to know?", "Fine"),
    ("Great!|Very good.|Well done!|Nice!|Cool!|Good job!|You are great!", "Thank you! What else would you like to know?", "Thanks"),
    ("Ok.|I see.|Alright.|Understood.|Okay", "Good. Ask me something else if you like.", "Good"),
    ("You are wrong.|That is wrong.|This is not true.|I don't believe you.", "I am sorry. I am very small and make mistakes.", "Sorry"),
)  # fmt: skip


def ask(rng: random.Random, held: bool = False) -> Exchange:
    """Return a question that lies outside the glossary, answered with "I don't know"."""
    draw = rng.random()
    if draw < 0.1:
        return _no_sum(rng, held)
    if draw < 0.38:
        question = _invented(rng, held)
    elif draw < 0.6:
        question = phrase(rng, choose(rng, THINGS, held, "thing"), held)
    else:
        question = _filled(rng, rng.choice(HELD_OUT_TEMPLATES if held else TEMPLATES), held)
    if not held:
        question = as_typed(rng, question)
    return Exchange("outside", question, rng.choice(UNKNOWN), "I don't know.", "Unknown", ("don't know",))


def ask_more(rng: random.Random) -> Exchange:
    """Return a question of the training part in one of more wordings."""
    question = as_typed(rng, _filled(rng, rng.choice(MORE_TEMPLATES), False))
    return Exchange("outside", question, rng.choice(UNKNOWN), "I don't know.", "Unknown", ("don't know",))


def _filled(rng: random.Random, template: str, held: bool) -> str:
    return template.format(
        place=choose(rng, PLACES, held, "place"), place2=choose(rng, PLACES, held, "place"),
        dish=choose(rng, DISHES, held, "dish"), person=choose(rng, PEOPLE, held, "person"),
        thing=choose(rng, THINGS, held, "thing"), sport=rng.choice(SPORTS), year=rng.randint(1200, 2020),
    )  # fmt: skip


def ask_about_words(rng: random.Random) -> Exchange:
    """Return a question about an everyday word, an animal or a name, or for more than a sum."""
    if rng.random() < 0.3:
        question = rng.choice(MORE_NO_SUMS).format(a=rng.randrange(100), b=rng.randrange(100))
        answer = "I don't know. I can only add numbers below 100."
        return Exchange(
            "outside",
            as_typed(rng, question, slips=False),
            answer,
            "I don't know.",
            "Unknown",
            ("don't know",),
        )
    while True:
        word = rng.choice((rng.choice(ANIMALS), rng.choice(EVERYDAY), rng.choice(HEROES), invented_word(rng)))
        if not any(held_out("thing", article + word, part=0.2) for article in ("", "a ", "an ", "the ")):
            break
    template = rng.choice(PHRASINGS)
    name = rng.choice(("a {}", "the {}", "{}")).format(word)
    question = as_typed(rng, template.format(x=name, b=bare(name)))
    return Exchange("outside", question, rng.choice(UNKNOWN), "I don't know.", "Unknown", ("don't know",))


def _no_sum(rng: random.Random, held: bool) -> Exchange:
    template = rng.choice(HELD_OUT_NO_SUMS if held else NO_SUMS)
    question = template.format(a=rng.randrange(100), b=rng.randrange(100), c=rng.randint(101, 9999))
    answer = "I don't know. I can only add numbers below 100."
    return Exchange("outside", question, answer, "I don't know.", "Unknown", ("don't know",))


def _invented(rng: random.Random, held: bool) -> str:
    word = invented_word(rng)
    while held_out("invented", word) != held:
        word = invented_word(rng)
    word = word.capitalize() if rng.random() < 0.2 else word
    name = rng.choice(("a {}", "{}", "the {}")).format(word)
    template = rng.choice(HELD_OUT_PHRASINGS if held else PHRASINGS)
    return template.format(x=name, b=bare(name))


def talk(rng: random.Random) -> Exchange:
    """Return a greeting, a thank-you or the like."""
    questions, answer, word = rng.choice(_TALK)
    question = as_typed(rng, rng.choice(questions.split("|")))
    return Exchange("talk", question, answer, answer, word, (answer[:8],))
