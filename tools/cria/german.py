"""Skill of the model with experts: stories in German, and what a few words are in German.

Knows plots as lists of alternative sentences, as `stories` does, with the genders that German needs. Pairs of
hero and animal are held out, and so are phrasings.
"""

import random
from collections.abc import Sequence

from tools.cria.exchange import Exchange
from tools.cria.stories import with_article
from tools.cria.words import held_out, invented_word

HEROES = """Mira Tom Lily Ben Ana Leo Nora Max Ida Sam Ella Finn Ruby Omar Zoe Hugo Maya Noah Lena Paul Rosa Emil Tara
Nina Otto Sara Luis Eva Karl Clara Timo Alma Greta Pablo Anton Freya Marco Jana Oscar Iris Milo Vera Felix Dana Ivan
Elsa Jonas Kira Theo Hana Ada Lars Mona Henri Selma Nils Tessa Bruno Flora Kai Sofia""".split()
# English, German, gender: m, f or n.
ANIMALS = (
    ("fox", "Fuchs", "m"), ("cat", "Katze", "f"), ("dog", "Hund", "m"), ("owl", "Eule", "f"), ("horse", "Pferd", "n"),
    ("mouse", "Maus", "f"), ("frog", "Frosch", "m"), ("duck", "Ente", "f"), ("goat", "Ziege", "f"), ("llama", "Lama", "n"),
    ("crow", "Kr\u00e4he", "f"), ("sheep", "Schaf", "n"), ("squirrel", "Eichh\u00f6rnchen", "n"), ("snail", "Schnecke", "f"),
    ("bee", "Biene", "f"), ("camel", "Kamel", "n"), ("tiger", "Tiger", "m"), ("pig", "Schwein", "n"), ("swan", "Schwan", "m"),
    ("otter", "Otter", "m"), ("badger", "Dachs", "m"), ("turtle", "Schildkr\u00f6te", "f"), ("whale", "Wal", "m"),
    ("donkey", "Esel", "m"),
)  # fmt: skip
THINGS = (
    ("house", "das Haus"), ("tree", "der Baum"), ("river", "der Fluss"), ("sun", "die Sonne"), ("moon", "der Mond"),
    ("bread", "das Brot"), ("key", "der Schl\u00fcssel"), ("friend", "der Freund"), ("garden", "der Garten"),
    ("water", "das Wasser"), ("book", "das Buch"), ("language", "die Sprache"), ("word", "das Wort"), ("star", "der Stern"),
    ("apple", "der Apfel"), ("snow", "der Schnee"), ("forest", "der Wald"), ("village", "das Dorf"),
)  # fmt: skip
_A = {"m": "ein", "f": "eine", "n": "ein"}
_AN = {"m": "einen", "f": "eine", "n": "ein"}
_THE = {"m": "der", "f": "die", "n": "das"}

PLACES = """in einem alten Wald|in einem kleinen Dorf|in einem gr\u00fcnen Tal|in einem Haus am Meer|auf einem stillen Hof
|in einer Stadt auf dem H\u00fcgel|in einer H\u00fctte am Fluss""".replace("\n", "").split("|")
OPENINGS = (
    "Es war einmal ein Kind, das hie\u00df {h} und lebte {place}.",
    "Vor langer Zeit lebte {h} {place}.",
    "{h} wohnte {place} und ging gern auf Reisen.",
    "Eines Morgens wachte {h} fr\u00fch auf, {place}.",
)
PLOTS = (
    (
        ("Da kam {ein} {a} des Weges und weinte.", "Unter einem Baum sa\u00df {ein} {a} und konnte nicht nach Hause finden."),
        ("{h} sagte: \"Hab keine Angst, ich helfe dir.\"", "{h} setzte sich dazu und h\u00f6rte lange zu."),
        ("Zusammen gingen sie \u00fcber den H\u00fcgel und durch den Regen.", "Sie fragten den Wind und die B\u00e4ume nach dem Weg."),
        ("Am Abend sah {der} {a} das Licht und sprang vor Freude.", "Hinter dem letzten H\u00fcgel wartete die Familie."),
    ),
    (
        ("Eines Tages fand {h} einen goldenen Schl\u00fcssel im Gras.", "Auf dem Weg lag ein Schl\u00fcssel aus Gold."),
        ("{Ein} {a} hatte ihn verloren und suchte ihn schon lange.", "Da kam {ein} {a} und fragte danach."),
        ("{h} gab ihn sofort zur\u00fcck.", "\"Ist das deiner?\", fragte {h}, und {der} {a} nickte."),
        ("Zum Dank zeigte {der} {a} einen geheimen Garten.", "{Der} {a} tanzte und lachte den ganzen Tag."),
    ),
    (
        ("In der Nacht kam ein gro\u00dfer Sturm.", "Drei Tage lang fiel der Schnee, und alle Wege waren weg."),
        ("Da klopfte {ein} {a} an die T\u00fcr.", "Nur {ein} {a} war noch drau\u00dfen."),
        ("\"Komm herein\", sagte {h}, \"hier ist es warm.\"", "{h} machte Feuer und teilte das Brot."),
        ("Am Morgen war alles still, und die Sonne schien.", "Zusammen warteten sie, bis die Sonne wieder kam."),
    ),
)  # fmt: skip
ENDINGS = (
    "Von da an waren {h} und {der} {a} die besten Freunde.",
    "Und jeden Fr\u00fchling kam {der} {a} wieder zu Besuch.",
    "{h} ging froh nach Hause, und {der} {a} schlief gut.",
)
PHRASINGS = (
    "Erz\u00e4hl mir eine Geschichte \u00fcber {h} und {einen} {a}.",
    "Schreib eine Geschichte \u00fcber {h} und {einen} {a}.",
    "Eine Geschichte \u00fcber {h} und {einen} {a}, bitte.",
    "Ich m\u00f6chte eine Geschichte \u00fcber {h} und {einen} {a}.",
    "Tell me a story in German about {h} and {w}.",
)
HELD_OUT_PHRASINGS = (
    "Bitte erz\u00e4hl mir eine Geschichte \u00fcber {h} und {einen} {a}.",
    "Schreib mir eine Geschichte \u00fcber {h} und {einen} {a}.",
)
WORD_PHRASINGS = (
    "What is {w} in German?",
    "Translate {w} into German.",
    "How do you say {w} in German?",
    "Wie hei\u00dft {w} auf Deutsch?",
    "Was hei\u00dft {w} auf Deutsch?",
    "Wie sagt man {w} auf Deutsch?",
    "{w} auf Deutsch, bitte.",
    "Say {w} in German.",
    "Tell me the German for {w}.",
    "Which German word means {w}?",
    "\u00dcbersetze {w} ins Deutsche.",
)
HELD_OUT_WORD_PHRASINGS = ("What is the German word for {w}?", "Sag {w} auf Deutsch.")


def _cast(rng: random.Random, held: bool) -> tuple[str, tuple[str, str, str]]:
    while True:
        animal = rng.choice(ANIMALS)
        new = not held and rng.random() < 0.3
        hero = invented_word(rng).capitalize() if new else rng.choice(HEROES)
        if held_out("german", hero, animal[1]) == held:
            return hero, animal


def _tell(rng: random.Random, hero: str, animal: tuple[str, str, str]) -> str:
    _, name, gender = animal
    sentences = [rng.choice(OPENINGS), *(rng.choice(step) for step in rng.choice(PLOTS)), rng.choice(ENDINGS)]
    a, the = _A[gender], _THE[gender]
    return " ".join(sentences).format(
        h=hero, a=name, ein=a, Ein=a.capitalize(), der=the, Der=the.capitalize(), place=rng.choice(PLACES)
    )


def ask(rng: random.Random, held: bool = False) -> Exchange:
    """Return a request for a German story about a hero and an animal."""
    hero, animal = _cast(rng, held)
    question = rng.choice(HELD_OUT_PHRASINGS if held else PHRASINGS)
    question = question.format(h=hero, a=animal[1], einen=_AN[animal[2]], w=with_article(animal[0]))
    return Exchange("German", question, _tell(rng, hero, animal), "", animal[1], (hero, animal[1]))


def _words() -> Sequence[tuple[str, str]]:
    return [*THINGS, *((english, f"{_THE[gender]} {german}") for english, german, gender in ANIMALS)]


def ask_word(rng: random.Random, held: bool = False) -> Exchange:
    """Return a question for the German word of an English one."""
    english, german = rng.choice(_words())
    question = rng.choice(HELD_OUT_WORD_PHRASINGS if held else WORD_PHRASINGS)
    quoted = f'"{english}"' if rng.random() < 0.5 else english
    answer = f"{german[0].upper()}{german[1:]}."
    return Exchange(
        "German", question.format(w=quoted), answer, answer, german.split()[1], (german.split()[1],)
    )


def plain_story(rng: random.Random) -> str:
    """Return a German story of the training part alone, as plain text."""
    return _tell(rng, *_cast(rng, False))
