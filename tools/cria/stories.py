"""Skill 4: a short story about a given hero and a given animal.

Knows plots as lists of alternative sentences. Some names are held out, and so are pairs of hero and
animal; a part of the training heroes has invented names, so that a name is copied and not recalled.
"""

import random

from tools.cria.exchange import Exchange
from tools.cria.words import as_typed, choose, held_out, invented_word

HEROES = """Mira Tom Lily Ben Ana Leo Nora Max Ida Sam Ella Finn Ruby Omar Zoe Hugo Maya Noah Lena Paul Rosa Emil Tara Jack
Nina Otto Sara Luis Eva Karl Amy Ravi Clara Timo Alma Yusuf Greta Pablo Lucy Anton Freya Marco Jana Oscar Iris Milo Vera
Felix Dana Ivan Elsa Jonas Kira Theo Mei Hana Arun Priya Kofi Ada Lars Mona Henri Selma Nils Tessa Bruno Flora Kai Sofia
Daniel Emma Oliver Grace Peter Alice Simon Julia Martin Laura Nadia Samir Leila Erik Astrid Diego Carmen Boris Olga""".split()  # fmt: skip
ANIMALS = """fox cat dog owl bear wolf hare mouse frog duck goat llama horse crow deer otter badger hedgehog turtle swan
squirrel rabbit donkey sheep goose whale seal lynx mole beaver snail bee parrot camel tiger lion monkey pig hen
elephant""".split()
PLACES = """an old forest|a small village|a green valley|a house by the sea|a quiet farmhouse|a town on a hill|a garden full of
 apple trees|a hut near the river|a valley under the snow|a cave on an island""".replace("\n", "").split("|")  # fmt: skip
THINGS = "a golden key|a red balloon|a wooden boat|a silver bell|a blue lantern|an old map|a warm scarf|a tiny drum|a round stone|a paper kite".split("|")  # fmt: skip
FOODS = "apples|bread|honey|berries|nuts|soup|cake|carrots".split("|")

VOWEL_STARTS = (
    "a",
    "e",
    "i",
    "o",
    "u",
    "al",
    "an",
    "ar",
    "am",
    "as",
    "el",
    "em",
    "en",
    "in",
    "ir",
    "ol",
    "os",
    "ur",
    "ul",
    "",
)

OPENINGS = (
    "Once upon a time, {h} lived in {place}.",
    "Once upon a time there was a child called {h}, who lived in {place}.", "{h} lived in {place} and loved to explore.", "Long ago, in {place}, there lived a child called {h}.",
    "One morning {h} woke up early in {place}.", "There was once a child named {h}, who lived in {place}.",
    "It was a quiet day in {place}, and {h} was looking for something to do.",
)  # fmt: skip
ENDINGS = (
    "From that day on, {h} and the {a} were best friends.", "In the evening {h} and the {a} shared some {food} and laughed.",
    "And every spring the {a} came back to visit {h}.", "{h} went home happy, and the {a} slept well that night.",
    "Nobody believed the story, but {h} and the {a} knew that it was true.", "So {h} learned to be brave, and the {a} learned to trust.",
    "The {a} smiled, {h} smiled too, and the stars came out.",
)  # fmt: skip
PLOTS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (
        ("One day {h} found {thing} under a tree.", "Near the gate {h} saw {thing} in the grass.", "On the path lay {thing}, and {h} picked it up."),
        ("A {a} came by and said that it was lost.", "Then a {a} came running and asked for it.", "A shy {a} was watching from behind a bush."),
        ("\"Is this yours?\" asked {h}, and the {a} nodded.", "{h} gave it to the {a} at once.", "The {a} had looked for it all day long."),
        ("To say thank you, the {a} showed {h} a secret place.", "The {a} danced for joy and bowed three times.", "As a gift, the {a} brought a basket of {food}."),
    ),
    (
        ("On a walk {h} met a {a} that could not find its way home.", "By the river sat a small {a}, and it was crying.", "Behind a fence {h} heard a {a} calling for help."),
        ("\"Do not be afraid,\" said {h}.", "\"I will help you,\" said {h} softly.", "{h} sat down and listened."),
        ("Together they walked over the hill and through the rain.", "They followed the river until the moon came up.", "They asked the wind, the trees and an old miller for the way."),
        ("At last the {a} saw its home and jumped for joy.", "Then the {a} knew the path again and ran ahead.", "Behind the last hill the family of the {a} was waiting."),
    ),
    (
        ("One night a big storm came, and the wind broke the roof.", "Then the snow fell for three days, and all the paths were gone.", "One summer there was no rain, and the well was dry."),
        ("{h} was worried, but a {a} knocked at the door.", "A wise {a} came to {h} and said that there was a way.", "Only a {a} was out there, and {h} let it in."),
        ("The {a} was small but very clever.", "\"We can do it together,\" said the {a}.", "The {a} had an idea, and {h} had strong hands."),
        ("They worked all night, and in the morning everything was fine.", "Step by step they made it right again.", "They did not stop until the work was done."),
    ),
    (
        ("Every evening somebody sang behind the house.", "One day there was strange music in the air.", "In the night {h} heard a soft song."),
        ("{h} followed the sound and found a {a} with {thing}.", "It was a {a}, and it sang to the moon.", "There sat a {a} that dreamed of being a singer."),
        ("\"May I sing with you?\" asked {h}.", "{h} clapped, and the {a} turned red.", "The {a} was afraid to sing for others, so {h} held its paw."),
        ("Soon the whole village came to hear them.", "They sang so well that even the owls were silent.", "Together they made the most beautiful song of the year."),
    ),
    (
        ("{h} wanted to find out what lies behind the mountains.", "{h} had {thing} and a great plan.", "{h} packed some {food} and went on a journey."),
        ("On the way a {a} asked to come along.", "At the bridge stood a {a} that knew the road.", "After an hour {h} met a {a} that was bored."),
        ("They crossed a dark wood, and the {a} went first.", "They slept under the stars and told each other jokes.", "When {h} was tired, the {a} told a funny tale."),
        ("On the top they could see the whole world.", "Behind the mountains there was a lake as blue as the sky.", "There they found {thing2}, and nobody knew who had left it."),
    ),
)  # fmt: skip
PHRASINGS = (
    "Tell me a story about {h} and {a}.", "Tell me a story about {h} and {a}.", "Write a story about {h} and {a}.",
    "Tell a short story about {h} and {a}.", "Please tell me a story about {a} and {h}.", "A story about {h} and {a}, please.",
    "Make up a story with {h} and {a}.", "I want a story about {h} and {a}.", "Can you tell a story about {h} and {a}?",
    "Story: {h} and {a}", "Write me a tale about {h} and {a}.", "Tell me about {h} and {a} in a story.",
)  # fmt: skip
HELD_OUT_PHRASINGS = (
    "Please write a story about {h} and {a}.",
    "Tell me a short story with {h} and {a}.",
    "Can you write a story about {h} and {a}?",
)


# What leaves the choice of the hero, the animal or both to the model.
OPEN = (
    "Tell me a story.", "tell me a story", "Write a story.", "Tell me a short story.", "Can you tell me a story?",
    "Tell me a story about {a}.", "Write a story about {a}.", "A story about {a}, please.", "Tell a story about {a}",
    "Tell me a story about {h}.", "Write a story about {h}.", "Another story, please.", "Tell me another story.",
)  # fmt: skip


def with_article(noun: str) -> str:
    """Return a noun with "a" or "an"."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def fix_articles(text: str, animal: str) -> str:
    """Write "an" before an animal that needs it."""
    if animal[0] in "aeiou":
        text = text.replace(f"a {animal}", f"an {animal}").replace(f"A {animal}", f"An {animal}")
    return text


def cast(rng: random.Random, held: bool) -> tuple[str, str]:
    """Return a hero and an animal; held-out pairs have a held-out name every second time."""
    while True:
        animal = rng.choice(ANIMALS)
        if held:
            hero = choose(rng, HEROES, rng.random() < 0.5, "hero", part=0.15)
        elif rng.random() < 0.45:
            hero = invented_word(rng).capitalize()
        else:
            hero = choose(rng, HEROES, False, "hero", part=0.15)
        new_name = held and held_out("hero", hero, part=0.15)
        if new_name or held_out("cast", hero, animal) == held:
            return hero, animal


def tell(rng: random.Random, hero: str, animal: str) -> str:
    """Return a story of five or six sentences."""
    place, food = rng.choice(PLACES), rng.choice(FOODS)
    thing, thing2 = rng.sample(THINGS, 2)
    sentences = [rng.choice(OPENINGS), *(rng.choice(step) for step in rng.choice(PLOTS)), rng.choice(ENDINGS)]
    text = " ".join(sentences).format(h=hero, a=animal, place=place, food=food, thing=thing, thing2=thing2)
    return fix_articles(text, animal)


def ask(rng: random.Random, held: bool = False) -> Exchange:
    """Return a request for a story about a hero and an animal."""
    hero, animal = cast(rng, held)
    question = rng.choice(HELD_OUT_PHRASINGS + PHRASINGS if held else PHRASINGS)
    question = question.format(h=hero, a=with_article(animal))
    if not held and rng.random() < 0.2:
        question = as_typed(rng, question.rstrip("."), slips=False).replace(hero.lower(), hero)
    return Exchange("stories", question, tell(rng, hero, animal), "", animal.capitalize(), (hero, animal))


def ask_openly(rng: random.Random) -> Exchange:
    """Return a request that names the hero, the animal or neither."""
    hero, animal = cast(rng, False)
    question = rng.choice(OPEN).format(h=hero, a=with_article(animal))
    return Exchange("stories", question, tell(rng, hero, animal), "", animal.capitalize(), (hero, animal))


def ask_about_anyone(rng: random.Random) -> Exchange:
    """Return a request whose hero has an invented name that may begin with a vowel, as Una or Ashok do."""
    while True:
        hero = (rng.choice(VOWEL_STARTS) + invented_word(rng, 2)).capitalize()
        animal = rng.choice(ANIMALS)
        if hero not in HEROES and not held_out("cast", hero, animal):
            break
    question = rng.choice(PHRASINGS).format(h=hero, a=with_article(animal))
    return Exchange("stories", question, tell(rng, hero, animal), "", animal.capitalize(), (hero, animal))


def plain_story(rng: random.Random) -> str:
    """Return a story of the training part alone, as plain text."""
    return tell(rng, *cast(rng, False))
