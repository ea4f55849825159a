"""What can be said about a scene: captions, questions and their answers.

Pure functions of a scene, the gallery's names and a numpy generator. Whatever is said is true of
the scene as recorded: a colour is named only where a thing has one, a position only where it is
clear. Knows nothing about pixels or models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finetune.pocket.drawings import Gallery
from finetune.pocket.world import Scene, Thing
from tools import wording
from tools.colours import COLOURS

__all__ = ["NUMBERS", "Asked", "a", "caption", "general_word", "plural", "questions", "where"]

NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}
_MASS = {
    "bacon", "bread", "butter", "popcorn", "sushi", "fog", "money", "wood", "oden", "rice",
    "cooked rice", "water", "ice", "salt", "spaghetti", "honey", "luggage", "lightning", "wind",
    "roasted sweet potato", "cold weather", "dim sum", "chess", "boxing",
    "clothing", "food",
}  # fmt: skip
_GENERAL = (
    "bird", "insect", "flower", "fruit", "vegetable", "dessert", "drink", "shoe", "hat", "boat",
    "plane", "train", "ball", "instrument", "computer", "clock", "phone", "weapon", "building",
    "vehicle", "car", "animal", "plant", "clothing", "food", "tool", "money",
)  # fmt: skip
_SINGULAR = re.compile(r"(ss|us|is|as|ous|news|lens|gas|tennis|chess|canvas)$")


@dataclass(frozen=True)
class Asked:
    """A question, its answer and its kind: what, colour, count, exists, where, relation, same."""

    question: str
    answer: str
    kind: str


def _is_plural(name: str) -> bool:
    last = name.split(" with ")[0].split()[-1]
    return last.endswith("s") and not _SINGULAR.search(last)


def plural(name: str) -> str:
    """English plural of a name: "box" -> "boxes", "scissors" -> "scissors"."""
    head = re.split(r" (?:with|of) ", name, maxsplit=1)[0]
    return name if _is_plural(head) or head in _MASS else wording.plural(name)


def a(name: str) -> str:
    """With its article: "a dog", "an apple", "scissors"."""
    if name in _MASS or _is_plural(name):
        return name
    vowel = name[0] in "aeiou" and not re.match(r"(uni|eu|one|u-)", name)
    return f"an {name}" if vowel or name.startswith(("hour", "x-ray")) else f"a {name}"


def _name(gallery: Gallery, thing: Thing) -> str:
    return gallery.concepts[thing.concept].spoken


def _coloured(gallery: Gallery, thing: Thing) -> str:
    """The name with its colour, unless the name already has a colour in it."""
    name = _name(gallery, thing)
    if not thing.colour or any(w in COLOURS for w in re.split(r"[ -]", name)):
        return name
    return f"{thing.colour} {name}"


def general_word(gallery: Gallery, concept: int) -> str:
    """The first of the general words that is a tag of a concept: "bird" of a duck; or ""."""
    c = gallery.concepts[concept]
    return next((w for w in _GENERAL if w in c.tags and w not in c.spoken.split()), "")


def _groups(gallery: Gallery, scene: Scene) -> list[list[Thing]]:
    """Things of one name and colour together, in reading order."""
    rows: dict[tuple[str, str], list[Thing]] = {}
    for thing in sorted(scene.things, key=lambda t: (round(t.y * 2.2), t.x)):
        rows.setdefault((_name(gallery, thing), thing.colour), []).append(thing)
    return list(rows.values())


def caption(
    gallery: Gallery, scene: Scene, rng: np.random.Generator, *, general: float = 0.0
) -> str:
    """One true sentence: things first, then perhaps their places or the background.

    `general`: chance that a thing is called by its general word instead of its name.
    """
    groups = _groups(gallery, scene)
    colours = rng.random() < 0.5

    def say(group: list[Thing]) -> str:
        always = gallery.concepts[group[0].concept].kind == "shape"
        name = _coloured(gallery, group[0]) if colours or always else _name(gallery, group[0])
        if general and rng.random() < general:
            name = general_word(gallery, group[0].concept) or name
        return a(name) if len(group) == 1 else f"{NUMBERS[len(group)]} {plural(name)}"

    parts = [say(g) for g in groups]
    if len(groups) == 2 and len(scene.things) == 2 and rng.random() < 0.25:
        first, second = (g[0] for g in groups)
        relation = _relation(first, second)
        if relation:
            return f"{parts[0]} {relation} {parts[1]}"
    text = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    if scene.background not in ("", "white") and rng.random() < 0.5:
        text += f" on {a(scene.background)} background"
    return text


def _relation(one: Thing, other: Thing) -> str:
    """Where `one` is, seen from `other`: a phrase, or "" where it is not clear."""
    dx, dy = one.x - other.x, one.y - other.y
    if abs(dx) > 0.25 and abs(dy) < 0.15:
        return "to the left of" if dx < 0 else "to the right of"
    if abs(dy) > 0.25 and abs(dx) < 0.15:
        return "above" if dy < 0 else "below"
    return ""


def where(thing: Thing) -> str:
    """The place of a thing: "left", "top right", "center", …"""
    row = "top" if thing.y < 0.4 else "bottom" if thing.y > 0.6 else ""
    column = "left" if thing.x < 0.4 else "right" if thing.x > 0.6 else ""
    return f"{row} {column}".strip() or "center"


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def questions(
    gallery: Gallery, scene: Scene, rng: np.random.Generator, concepts: Sequence[int]
) -> list[Asked]:
    """Every kind of question that has a clear answer in this scene, in random order.

    `concepts`: what may be asked about though it is not there. Yes and no are equally likely.
    """
    groups = _groups(gallery, scene)
    names = {_name(gallery, t) for t in scene.things}
    colour_word = _pick(rng, ("color", "colour"))
    rows: list[Asked] = []
    plain = rng.random() < 0.5
    listed = caption(gallery, Scene(scene.things, "", 0), np.random.default_rng(1))
    single = len(groups) == 1
    answer = _name(gallery, groups[0][0]) if single else listed
    what = ("what is this?", "what is in the picture?", "what do you see?", "what is it?",
            "what is shown here?", "what's this?", "what is in this image?")  # fmt: skip
    rows.append(Asked(_pick(rng, what), answer, "what"))
    focus = groups[int(rng.integers(len(groups)))]
    thing, name = focus[0], _name(gallery, focus[0])
    same_name = [t for t in scene.things if _name(gallery, t) == name]
    if thing.colour and len({t.colour for t in same_name}) == 1:
        subject = _pick(rng, ("it", "this", f"the {name}")) if single else f"the {name}"
        verb = "are" if len(same_name) > 1 and subject.startswith("the") else "is"
        subject = plural(subject) if verb == "are" else subject
        rows.append(Asked(f"what {colour_word} {verb} {subject}?", thing.colour, "colour"))
    if scene.background:
        rows.append(Asked(f"what {colour_word} is the background?", scene.background, "background"))
    rows += _counts(gallery, scene, rng, concepts, name, len(same_name), names)
    rows += _exists(gallery, scene, rng, concepts, thing, names)
    if len(same_name) == 1:
        rows.append(Asked(f"where is the {name}?", where(thing), "where"))
    if len(groups) > 1:
        rows += _relations(gallery, scene, rng, groups)
    if len(scene.things) == 2 and plain:
        same = "yes" if single else "no"
        ask = ("are they the same?", "are these two the same thing?",
               "are the two things the same?")  # fmt: skip
        rows.append(Asked(_pick(rng, ask), same, "same"))
    return [rows[i] for i in rng.permutation(len(rows))]


def _counts(
    gallery: Gallery,
    scene: Scene,
    rng: np.random.Generator,
    concepts: Sequence[int],
    name: str,
    count: int,
    names: set[str],
) -> list[Asked]:
    many = plural(name)
    ask = (f"how many {many} are there?", f"how many {many} do you see?",
           f"how many {many} are in the picture?")  # fmt: skip
    rows = [Asked(_pick(rng, ask), str(count), "count")]
    if rng.random() < 0.5:
        noun = _pick(rng, ("things", "objects"))
        ends = ("there", "in the picture")
        rows.append(
            Asked(f"how many {noun} are {_pick(rng, ends)}?", str(len(scene.things)), "count")
        )
    if rng.random() < 0.08:
        absent = gallery.concepts[int(rng.choice(list(concepts)))].spoken
        if absent not in names:
            rows.append(Asked(f"how many {plural(absent)} are there?", "0", "count"))
    return rows


def _exists(
    gallery: Gallery,
    scene: Scene,
    rng: np.random.Generator,
    concepts: Sequence[int],
    thing: Thing,
    names: set[str],
) -> list[Asked]:
    rows = []
    true = bool(rng.random() < 0.5)
    name = _name(gallery, thing)
    if not true:
        name = gallery.concepts[int(rng.choice(list(concepts)))].spoken
        if name in names:
            return []
    ask: tuple[str, ...] = (
        f"is there {a(name)}?", f"is there {a(name)} in the picture?", f"do you see {a(name)}?",
        f"can you see {a(name)}?", f"are there any {plural(name)}?",
        f"does the image contain {a(name)}?",
    )  # fmt: skip
    if len(scene.things) == 1:
        ask += (f"is this {a(name)}?", f"is it {a(name)}?")
    rows.append(Asked(_pick(rng, ask), "yes" if true else "no", "exists"))
    colours = {t.colour for t in scene.things}
    if all(colours):
        truth = bool(rng.random() < 0.5)
        pool = sorted(colours) if truth else [c for c in COLOURS if c not in colours]
        colour = _pick(rng, pool)
        ask = (f"is there something {colour}?", f"is there a {colour} thing?",
               f"is anything {colour}?")  # fmt: skip
        rows.append(Asked(_pick(rng, ask), "yes" if truth else "no", "exists"))
    return rows


def _relations(
    gallery: Gallery, scene: Scene, rng: np.random.Generator, groups: list[list[Thing]]
) -> list[Asked]:
    alone = [g[0] for g in groups if len(g) == 1]
    names = [_name(gallery, t) for t in alone]
    if len(alone) < 2 or len(set(names)) < len(names):
        return []
    i, j = (int(v) for v in rng.permutation(len(alone))[:2])
    one, other = alone[i], alone[j]
    rows = []
    relation = _relation(one, other)
    if relation:
        if len(scene.things) == 2:
            rows.append(Asked(f"what is {relation} the {names[j]}?", names[i], "relation"))
        opposite = {
            "to the left of": "to the right of", "to the right of": "to the left of",
            "above": "below", "below": "above",
        }[relation]  # fmt: skip
        true = bool(rng.random() < 0.5)
        said = relation if true else opposite
        said = said.replace("to the ", "") if rng.random() < 0.5 else said
        rows.append(
            Asked(f"is the {names[i]} {said} the {names[j]}?", "yes" if true else "no", "relation")
        )
    ratio = one.size / other.size
    if ratio > 1.25 or ratio < 0.8:
        big = names[i] if ratio > 1 else names[j]
        small = names[j] if ratio > 1 else names[i]
        word, answer = (("bigger", big), ("smaller", small))[int(rng.integers(2))]
        rows.append(
            Asked(f"which is {word}, the {names[i]} or the {names[j]}?", answer, "relation")
        )
    return rows
