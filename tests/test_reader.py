"""The learned reader: its examples, its training, what it computes, and when it is followed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.router.actions import Context
from assistant.router.deciding import decide
from assistant.router.features import features_of, tokens_in
from assistant.router.language import LANGUAGES, language
from assistant.router.learn import HERE, Network, as_reader, fingerprint, fit, save
from assistant.router.learned import BEFORE, loaded, reader, stored
from assistant.router.lessons import SEVERAL, TAUGHT, examples_in
from assistant.router.marking import MUST, SLOTS, TAGS
from assistant.router.spelling import checksum
from tools.artifacts import Candidate, Recognition

ENGLISH = language("en")
LABELS = ("zorb", "blick")
FEW = """
# a comment
## teach photo
this fine fellow is called [Bruno](label)
what you see is a [julienne peeler](label)
my gran's old [carpet beater](label)
everybody here says [slash hook](label) to it
## forget none
chuck out [zorb](label)
I have no need of [blick](label) any more
## caption photo
put it into words for me
say what you see
what is going on in there
"""


@pytest.mark.parametrize("code", LANGUAGES)
def test_each_reader_was_trained_with_the_examples_that_are_there(code: str) -> None:
    text = HERE.joinpath("examples", f"{code}.txt").read_text(encoding="utf-8")
    with np.load(HERE / "learned" / f"{code}.npz") as data:
        assert str(data["examples"]) == fingerprint(text), (
            f"run `python -m assistant.router.learn {code}`"
        )
        intents = {e.intent for e in examples_in(text)}
        assert set(str(data["intents"]).split()) == intents - {SEVERAL}


def test_an_example_is_read() -> None:
    found = list(examples_in(FEW))
    assert len(found) == 9
    first = found[0]
    assert (first.intent, first.before) == ("teach", "photo")
    assert first.text == "this fine fellow is called Bruno"
    assert [(first.text[a:b], s) for a, b, s in first.slots] == [("Bruno", "label")]


@pytest.mark.parametrize(
    "text",
    [
        "## undo none\nno, not [zorb](label)",
        "## undo yesterday\nback",
        "undo that",
        "## teach photo\n[x](name)",
    ],
)
def test_a_line_that_is_no_example_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="no line for"):
        list(examples_in(text))


def test_training_learns_frames_and_not_names(tmp_path: Path) -> None:
    examples = list(examples_in(FEW))
    trained = fit(examples, ENGLISH, epochs=200)
    for example in examples:
        guess = trained.read(example.text, TAUGHT["en"], example.before)
        assert guess is not None and guess.intent == example.intent, example
        wanted = {s: example.text[a:b] for a, b, s in example.slots}
        assert guess.slots == wanted, example
    new = trained.read("this fine fellow is called Wobbegong", TAUGHT["en"], "photo")
    assert new is not None and new.slots == {"label": "Wobbegong"}
    save(stored(trained), tmp_path / "new" / "en.npz", FEW)
    with np.load(tmp_path / "new" / "en.npz") as data:
        assert str(data["examples"]) == fingerprint(FEW)
        again = loaded(ENGLISH, {name: data[name] for name in data.files if name != "examples"})
    for example in examples:
        one, other = (r.read(example.text, TAUGHT["en"], example.before) for r in (trained, again))
        assert one is not None and other is not None and one.slots == other.slots
        assert one.probability == pytest.approx(other.probability, abs=0.02)


def test_the_same_examples_give_the_same_reader() -> None:
    one, other = (fit(list(examples_in(FEW)), ENGLISH, epochs=3) for _ in range(2))
    for name, value in one.weights.items():
        assert np.array_equal(value, other.weights[name]), name


def test_the_reader_computes_what_the_network_does() -> None:
    torch.manual_seed(1)
    text, before = 'hey, that\'s "Rex" and not a zorb!', 1
    tokens = tokens_in(text, LABELS, ENGLISH)
    rows = features_of(text, tokens, {"hey", "not"})
    keys = sorted({checksum(f) for row in rows for f in row})
    network = Network(len(keys), 3).eval()
    own = as_reader(network, keys, ["a", "teach", "c"], {"hey", "not"}, ENGLISH)
    with torch.no_grad():
        for value in network.parameters():  # as they are stored
            value.copy_(value.half().float())
        places = torch.tensor([[[keys.index(checksum(f)) + 1 for f in row] for row in rows]])
        told, marked, begun = network(places, torch.tensor([before]), torch.tensor([1]))
    seen = own._seen(text, tokens, BEFORE[before])
    pooled = np.concatenate([seen.max(axis=0), seen.mean(axis=0)])
    assert np.allclose(own._linear("intent", pooled), told[0].numpy(), atol=1e-4)
    assert np.allclose(own._marks(seen, 1), marked[0].log_softmax(1).numpy(), atol=1e-4)
    assert np.allclose(own._begun(seen), begun[0].sigmoid().numpy(), atol=1e-4)


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=80), before=st.sampled_from(BEFORE), code=st.sampled_from(LANGUAGES))
def test_whatever_is_typed_is_read(text: str, before: str, code: str) -> None:
    guess = reader(language(code)).read(text, LABELS, before)
    if guess is not None:
        assert 0 <= guess.probability <= 1 + 1e-6
        assert set(guess.slots) <= set(SLOTS.get(guess.intent, ()))
        assert all(filled in text for filled in guess.slots.values())
        assert all(0 <= share <= 1 + 1e-6 for share in guess.surety.values())


def test_what_must_be_filled_is_there_for() -> None:
    assert all(set(must) <= set(SLOTS[intent]) for intent, must in MUST.items())
    assert {tag[1:] for tag in TAGS[1:]} == {s for slots in SLOTS.values() for s in slots}


SHOWN = Context(LABELS, (2,), 2)
SAID = Context(LABELS, (), 1, False, Recognition("p", "known", (Candidate("zorb", 0.9),), "taught"))


@pytest.mark.parametrize(
    ("text", "context", "wanted"),
    [
        # No line fits: what most people mean who say such things.
        ("the lads at the yard would tell you that is a fid", SHOWN, "teach_label fid"),
        ("nah thats big bertha thats my rig that is", SHOWN, "teach_label big bertha"),
        ("whats this supposed to be then", SHOWN, "classify_image"),
        ("u can bin blick now mate", SAID, "forget_label blick"),
        ("my bad, wind that last bit back", SAID, "undo"),
        # A line fits, and is not what is meant.
        ('Store label "PX-204" for this image.', SHOWN, "teach_label PX-204"),
        # A line says it: nobody knows better.
        ("how well do you know it?", SAID, "report_knowledge zorb"),
        ("train on zorbs and blicks", SAID, "train_adapter ['zorb', 'blick']"),
        # What asks orders nothing, what is doubted is asked about.
        ("please never forget zorb", SAID, ""),
        ("imagine it was called Hubert", SHOWN, ""),
        # What is already asked is answered by few words.
        ("erase it all then", replace(SAID, wiping=True), ""),
    ],
)
def test_when_the_reader_is_followed(text: str, context: Context, wanted: str) -> None:
    found = [a for a in decide(text, context) if a.tool]
    told = ["{} {}".format(a.tool, next(iter((a.args or {}).values()), "")).strip() for a in found]
    assert told == ([wanted] if wanted else [])
