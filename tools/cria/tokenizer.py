"""The byte-level BPE of cria.

Merges are learned on words without their space, and the most frequent words are then glued to a
leading space by merges of the lowest rank. So a rare word is cut alike at the start of a text and
inside it, which makes copying easy for a small model. Digits stand alone, and every byte is a token.
"""

import json
from collections import Counter
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from tools.cria import conversation, glossary, obeying
from tools.cria.rendering import BOS, EOT, PAD, SPECIAL, TEMPLATE
from tools.cria.words import seeded

WORDS = r"\p{N}| ?\p{L}+|\n+| ?[^\s\p{L}\p{N}]+|\s"
WORDS_WITHOUT_SPACE = r"\p{N}|\p{L}+|\n+|[^\s\p{L}\p{N}]+|\s"
CORPUS = {
    "story": 0.3,
    "plain_story": 0.2,
    "chat": 0.2,
    "with_follow_ups": 0.1,
    "tool_chat": 0.08,
    "obedient": 0.12,
}


def corpus(seed: int, conversations: int = 6000, kinds: dict[str, float] | None = None) -> list[str]:
    """Return the texts on which the merges are learned, special tokens left out; `kinds` in place of CORPUS."""
    texts = []
    for index in range(conversations):
        pieces = conversation.draw(seeded(seed, "tokenizer", index), kinds or CORPUS).pieces
        text = "".join(piece for piece, _ in pieces)
        for mark in SPECIAL:
            text = text.replace(mark, "\n")
        texts.append(text)
    for entry in glossary.ENTRIES:
        texts += [f"{entry.core} {entry.extra}"] * 8 + [
            obeying.shape(glossary.no_marks(entry.core), entry.word, "capitals")
        ] * 2
    return texts


def _split(pattern: str) -> pre_tokenizers.PreTokenizer:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level])


def learn(texts: list[str], size: int, glued: int) -> Tokenizer:
    """Return a tokenizer of ``size`` tokens, ``glued`` of which are words with their leading space."""
    base = Tokenizer(models.BPE())
    base.pre_tokenizer = _split(WORDS_WITHOUT_SPACE)
    trainer = trainers.BpeTrainer(
        vocab_size=size - glued - len(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
        min_frequency=2,
    )
    base.train_from_iterator(texts, trainer)
    state = json.loads(base.to_str())["model"]
    vocabulary: dict[str, int] = state["vocab"]
    merges = [tuple(merge) for merge in state["merges"]]
    counts = Counter(word for text in texts for word, _ in _split(WORDS).pre_tokenize_str(text))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    chosen = [word for word, _ in ranked if word[0] == "Ġ" and word[1:] in vocabulary and _whole(word[1:])][
        :glued
    ]
    for word in chosen:
        vocabulary[word] = len(vocabulary)
        merges.append(("Ġ", word[1:]))
    return _finish(vocabulary, merges)


def _whole(word: str) -> bool:
    # A single letter would be glued inside rare words, too, and cut them differently after a space.
    return len(word) > 1 or word in "aAI+-=*/"


def _finish(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = _split(WORDS)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in SPECIAL])
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{BOS} $A",
                pair=f"{BOS} $A {BOS} $B:1",
                special_tokens=[(BOS, tokenizer.token_to_id(BOS))],
            ),
        ]
    )
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path, context: int) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOT,
        "pad_token": PAD,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": context,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "chat_template.jinja").write_text(TEMPLATE.read_text())
