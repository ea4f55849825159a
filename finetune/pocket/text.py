"""The words of the pocket models: one lower-case byte-level BPE, dressed for each architecture.

Knows the gallery's names and the sentences of `talk`; nothing about pictures or weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from finetune.pocket.drawings import MAIN_GROUPS, Gallery
from finetune.pocket.talk import a, caption, plural, questions
from finetune.pocket.world import sample_scenes
from tools.colours import COLOURS
from tools.questions import unread

__all__ = [
    "BOS",
    "CHAT_TEMPLATE",
    "EOS",
    "IMAGE",
    "PAD",
    "dressed",
    "meanings",
    "nameable",
    "named_concepts",
    "names_of",
    "prompts",
    "question_words",
    "train_tokenizer",
    "vocabulary",
    "write_vocabulary",
]

UNK, PAD, BOS, EOS, IMAGE = "<unk>", "<pad>", "<s>", "</s>", "<image>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] if message['content'] is string "
    "else message['content'][0]['text'] }} {% else %}"
    "{{ message['role'].upper() + ': ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] }}{% endfor %}{% endif %}"
    "{{ '</s>' if message['role'] == 'assistant' else ' ' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
"""LLaVA-1.5's conversation: `USER: <image>\\nquestion ASSISTANT: answer</s>`."""

_TEMPLATES = (
    "{}", "{a}", "a picture of {a}", "a photo of {a}", "a drawing of {a}", "an image of {a}",
    "an icon of {a}", "this is {a}", "the {}", "a cartoon {}", "a {} emoji", "a photo of a {}",
    "a picture of a {}", "a photo of {}",
)  # fmt: skip


_PARTS = {"arm", "ear", "eye", "face", "foot", "hand", "head", "leg", "mouth", "nose", "tail"}


def prompts(name: str, rng: np.random.Generator, count: int = 1) -> list[str]:
    """`count` ways of writing a name: "dog", "a picture of a dog", …"""
    chosen = rng.integers(0, len(_TEMPLATES), count)
    return [_TEMPLATES[i].format(name, a=a(name)) for i in chosen]


def names_of(gallery: Gallery, concept: int) -> list[str]:
    """All full names of a concept, its own first."""
    c = gallery.concepts[concept]
    return list(dict.fromkeys([c.name, c.spoken, *c.aliases]))


def nameable(gallery: Gallery) -> list[int]:
    """Concepts that have pictures and a name of their own, which characters have not."""
    return [i for i, c in enumerate(gallery.concepts) if c.kind != "character" and c.sprites]


def meanings(gallery: Gallery) -> dict[str, list[int]]:
    """The nameable concepts that each name, alias and tag may mean."""
    meant: dict[str, list[int]] = {}
    for i in nameable(gallery):
        for text in [*names_of(gallery, i), *gallery.concepts[i].tags]:
            meant.setdefault(text, []).append(i)
    return meant


def named_concepts(gallery: Gallery) -> list[int]:
    """Concepts that zero-shot naming offers: the main groups, shapes and garments."""
    groups = {*MAIN_GROUPS, "shapes", "garments"}
    return [i for i, c in enumerate(gallery.concepts) if c.group in groups and c.sprites]


def vocabulary(gallery: Gallery) -> list[dict[str, object]]:
    """Rows of vocabulary.json: name, aliases, group."""
    rows: list[dict[str, object]] = []
    for i in named_concepts(gallery):
        first, *rest = names_of(gallery, i)
        rows.append({"name": first, "aliases": rest, "group": gallery.concepts[i].group})
    return rows


def _texts(gallery: Gallery, seed: int) -> Iterator[str]:
    for i, c in enumerate(gallery.concepts):
        if c.kind == "character":
            continue
        for name in names_of(gallery, i):
            yield from [name, a(name), plural(name)] * 3
        yield from c.tags
    rng = np.random.default_rng([seed, 3])
    concepts = gallery.of_kind("drawing")
    for scene in sample_scenes(gallery, 2500, concepts=concepts or [0], seed=seed):
        yield caption(gallery, scene, rng)
        for row in questions(gallery, scene, rng, concepts or [0]):
            yield f"USER: {row.question} ASSISTANT: {row.answer}"
    yield from COLOURS
    for template in _TEMPLATES:
        yield template.format("thing", a="a thing")


def train_tokenizer(gallery: Gallery, *, size: int = 3072, seed: int = 0) -> Tokenizer:
    """A byte-level BPE of at most `size` tokens, lower-casing, that can write any text."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNK))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Replace("’", "'"),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
            normalizers.Lowercase(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[UNK, PAD, BOS, EOS, IMAGE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts: Iterable[str] = list(_texts(gallery, seed))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in (UNK, PAD, BOS, EOS, IMAGE)]
    )
    return tokenizer


def dressed(tokenizer: Tokenizer, model: str, length: int) -> PreTrainedTokenizerFast:
    """The tokenizer as `clip`, `blip` (both `<s> … </s>`) or `llava` (`<s> …`) expect it."""
    own = Tokenizer.from_str(tokenizer.to_str())
    ends = [(t, own.token_to_id(t)) for t in (BOS, EOS)]
    single = f"{BOS} $A" if model == "llava" else f"{BOS} $A {EOS}"
    own.post_processor = processors.TemplateProcessing(single=single, special_tokens=ends)
    extra = {"image_token": IMAGE} if model == "llava" else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=own,
        unk_token=UNK,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        model_max_length=length,
        padding_side="left" if model == "llava" else "right",
        clean_up_tokenization_spaces=False,
        extra_special_tokens=extra,
    )


def question_words(
    gallery: Gallery, concepts: Sequence[int], more: Iterable[str] = (), *, seed: int = 0
) -> list[str]:
    """What says something in the questions of training, sorted.

    Names are there whole and by their last word, the kind of thing; what is part of a thing ("leg")
    is not: it was never asked about. ``concepts``: what was; ``more``: questions of other sources.
    """
    rng = np.random.default_rng([seed, 5])
    names = [gallery.concepts[i].spoken for i in concepts]
    names += sorted({name.split()[-1] for name in names} - _PARTS)
    known = {name.lower() for name in (*names, *map(plural, names), *COLOURS)}
    asked = set(more)
    for scene in sample_scenes(gallery, 2500, concepts=concepts, seed=seed):
        asked |= {row.question for row in questions(gallery, scene, rng, concepts)}
    return sorted(known | {word for text in asked for word in unread(text, known)})


def write_vocabulary(gallery: Gallery, path: Path) -> None:
    """vocabulary.json beside the CLIP weights."""
    rows = vocabulary(gallery)
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
