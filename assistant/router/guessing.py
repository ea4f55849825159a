"""What the learned reader's guess at a message leads to here.

Knows nothing of the tables' lines, nor of when a guess is followed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assistant.router.actions import Action, Context
from assistant.router.handlers import HANDLERS, TAKE_PHOTOS
from assistant.router.language import Language, Reading
from assistant.router.learned import Guess, reader
from assistant.router.marking import MUST
from assistant.router.names import find_known, name_in, proper_name
from assistant.router.pointing import discussed
from assistant.router.reading import Clause

__all__ = [
    "LIKELY", "LONGEST", "NAMING", "ORDERS", "POSSIBLE", "SURE", "as_question", "asked_first",
    "before", "guessed", "meant", "of_speaker", "photo_alone", "with_photos",
]  # fmt: skip

NAMING = ("teach_label", "correct_label")
POSSIBLE, LIKELY, SURE = 0.35, 0.5, 0.8
"""From the first a guess is better than none, from the second it is worth following; from the third
it is as good as said."""
_CLEAR = 0.4  # of what fills a slot, below which it is asked about
_ASKED_FIRST = {"forget", "forget_today", "merge", "split"}
ORDERS = {*_ASKED_FIRST, "undo", "forget_picture", "rename", "alias"}
_TOLD = 0.65  # from which those are done
_PLAIN = 0.9  # from which an order may be put as a question
LONGEST = 400  # characters of what is read
_REST_OF_NAME = re.compile(r"\s+[^\W\d_][\w'-]*")
_SECOND_PART = re.compile(
    r"\s+(?:(?:of|de|von)(?: (?:the|la|las|los|der|dem|den))?|du|des|del|vom)"
    r"(?: [^\W\d_a-zà-ÿ][\w'-]*)+"
)
_ADVERB = re.compile(r"\b(?:[a-z]{3,}ly|so|very|quite|rather|too)\s+$")
_OPEN_END = re.compile(r"\w\s(?:of|von|vom|de|du|des|del)$", re.I)
_OF_WHAT_WAS_SAID = ("alias", "find_label", "split")  # "show me his pictures"


@dataclass(frozen=True)
class _Said(Clause):
    """A clause that is taken as an order or a statement, whatever its first word."""

    @property
    def question(self) -> bool:
        return False


def guessed(text: str, tongue: Language, context: Context) -> Guess | None:
    """What a text most likely means, by how people say things; None for too long a one."""
    if len(text) > LONGEST:
        return None
    guess = reader(tongue).read(text, context.labels, before(context))
    if guess is not None and of_speaker(guess, tongue):
        return replace(guess, intent="nothing", slots={}, surety={})
    return guess and _titled(
        _whole_name(_proper(guess, text, tongue), text), tongue, context.labels
    )


def of_speaker(guess: Guess, tongue: Language) -> bool:
    """Whether the name is of who speaks: "My name is Walt."."""
    return guess.intent == "teach" and tongue.fits("speaker", guess.lead)


def _proper(guess: Guess, text: str, tongue: Language) -> Guess:
    """With the one proper name of an English text where an adverb stands before what would be the
    name: "this is Madame Octavia, of whom we were always terribly fond"."""
    name = guess.slots.get("label", "")
    if guess.intent != "teach" or not name.islower() or not _ADVERB.search(guess.lead):
        return guess
    better = proper_name(tongue.read(text), tongue)
    if better is None:
        return guess
    lead = text[: text.find(better)]
    return replace(guess, slots={**guess.slots, "label": better}, lead=lead)


def _whole_name(guess: Guess, text: str) -> Guess:
    """With what comes after "of" in a name: "the Grey Visitor of Jhansi", "Don Pepe de la Luna"."""
    name = guess.slots.get("label", "")
    open_end = _OPEN_END.search(name) is not None
    goes_on = _REST_OF_NAME if open_end else _SECOND_PART
    titled = any(word[0].isupper() for word in name.split()[-1:])
    more = (open_end or titled) and goes_on.match(text[text.rfind(name) + len(name) :])
    if not more:
        return guess
    return replace(guess, slots={**guess.slots, "label": name + more[0]})


def _titled(guess: Guess, tongue: Language, labels: Sequence[str]) -> Guess:
    """With the titles before a name in it: "Tante Hildegard"."""
    name, words = guess.slots.get("label", ""), guess.lead.split()
    if not name[:1].isupper() or find_known(name, labels) is not None:
        return guess
    while words and words[-1].casefold() in tongue.titles:
        if tongue.code != "es" and not words[-1][0].isupper():
            break
        name = f"{words.pop()} {name}"
    return replace(guess, slots={**guess.slots, "label": name}, lead=" ".join(words))


def before(context: Context) -> str:
    """What came before a message, in the word that the examples have for it."""
    if context.turn_photos:
        return "photo"
    if context.asked:
        return "asked"
    if context.recognised is not None or context.changed is not None or context.answered:
        return "said"
    return "any" if context.photo_count else "none"


def meant(guess: Guess, clause: Clause, context: Context) -> Action | None:
    """What to do about a guess; None where it leads nowhere.

    A change that it is not sure of is asked about first.
    """
    if not guess.slots.keys() >= set(MUST.get(guess.intent, ())):
        return None
    action = _action(guess, clause, context)
    if action is None or not action.tool:
        return action
    naming = action.tool in NAMING
    if naming and _denied(guess, clause.tongue):
        return None
    if (naming or guess.intent == "reject") and _not_yet(clause):
        return Action(text=clause.tongue.said("agree"))
    if naming and not context.turn_photos and not context.asked:
        talked = context.recognised is not None or context.changed is not None
        if context.answered or not (talked or (context.fresh and guess.probability >= SURE)):
            return None  # nobody asked what it is
    asks = guess.intent in ORDERS and clause.question and not _requested(guess, clause)
    unclear = min(guess.surety.values(), default=1.0) < _CLEAR
    if unclear and guess.intent in ORDERS:
        return None  # what must be filled was not said
    unclear &= naming
    told = _TOLD if guess.intent in _ASKED_FIRST else LIKELY
    unsure = guess.intent in ORDERS - {"undo"} and guess.probability < told
    doubted = naming and not clause.tongue.doubtful.isdisjoint(guess.words)
    denied = not clause.tongue.negations.isdisjoint(guess.words)
    doubted |= denied and (naming or guess.intent in ORDERS - {"undo"})
    if unclear or unsure or asks or doubted:
        return asked_first(action, clause.tongue)
    if naming:
        action = replace(action, naming=clause.tongue.fits("naming", clause.text))
    return with_photos(action, clause)


def _action(guess: Guess, clause: Clause, context: Context) -> Action | None:
    tongue = clause.tongue
    said = _Said(clause.sentence, False, tongue, clause.photos)
    label, unsure = guess.slots.get("label"), guess.probability < SURE
    if label is None and guess.intent in _OF_WHAT_WAS_SAID:
        spoken_of = discussed(context)
        if spoken_of is None:
            return None
        slots = {"label": spoken_of, **guess.slots}
        return _action(replace(guess, slots=slots), clause, context)
    match guess.intent:
        case "nothing" if context.turn_photos:
            return photo_alone(context)
        case "nothing":
            begun = context.photo_count or context.changed is not None
            return Action(text=tongue.said("remark" if begun else "hello"))
        case "off_topic" | "help" if context.turn_photos:
            return None
        case "off_topic":
            return Action(text=tongue.said("cant_answer"))
        case "ask":
            if not (context.turn_photos or context.photo_count):
                return Action(text=tongue.said("send_first"))
            question = as_question(clause.text, clause.question)
            return Action("answer_question", {"question": question})
        case "classify":
            return Action("classify_image", {})
        case "is_it" | "find_label":
            name = name_in(label or "", context.labels, typos=True, tongue=tongue)
            if name is None:
                return None
            if guess.intent == "is_it" and name not in context.labels and unsure:
                return Action("classify_image", {})
            if guess.intent == "is_it":
                return Action("classify_image", {"labels": [name]})
            return Action("find_similar", {"query": name})
        case "teach":
            talked = context.recognised is not None or context.changed is not None
            open_to_it = talked and not context.turn_photos and not context.asked
            corrected = _done("correct", guess, said, context) if open_to_it else None
            return corrected or _done("teach", guess, said, context)
        case "find" if tongue.code != "en" and not context.turn_photos:
            known = _done("find", guess, said, context)
            return known or Action("find_similar", {"query": guess.slots["query"]})
        case "export_memory" if not tongue.importing.isdisjoint(guess.words):
            return Action("import_memory", {})
        case "train" | "training_status" if not tongue.stopping.isdisjoint(guess.words):
            return Action("cancel_training", {})
        case "reject" if label is not None and clause.marked:  # "so it isn't a zorb?"
            return Action("classify_image", {})
        case "reject" if label is None:
            return _done("reject_last", guess, said, context)
        case "detect" if label is not None:
            return _done("detect", replace(guess, slots={"list": label}), said, context)
        case "forget_today" if _of_this_talk(clause):
            return _done("forget_session", guess, said, context)
    return _done(guess.intent, guess, said, context)


def _done(intent: str, guess: Guess, clause: Clause, context: Context) -> Action | None:
    """What the handler of an intent makes of what fills its slots."""
    done = HANDLERS[intent](Reading(intent, guess.slots), clause, context)
    if done is None or isinstance(done, Action):
        return done
    return done[0] if len(done) == 1 else None


def _requested(guess: Guess, clause: Clause) -> bool:
    """Whether a question is an order: "could you undo that?", but not "should I undo that?"."""
    tongue = clause.tongue
    plain = guess.probability >= _PLAIN and tongue.doubtful.isdisjoint(guess.words)
    return plain and tongue.fits("polite", guess.text)


def _not_yet(clause: Clause) -> bool:
    """Whether it speaks of what is to come: "the next one will be a zorb"."""
    block = clause.tongue.block("not_yet")
    return block is not None and bool(block.ends(clause.sentence, 0))


def _denied(guess: Guess, tongue: Language) -> bool:
    """Whether "not" stands before the name, or before its article."""
    articles = tongue.block("articles")
    before = list(tongue.read(guess.lead).words)
    while before and articles is not None and before[-1] in articles.words:
        before.pop()
    return bool(before) and before[-1] in tongue.denying


def _of_this_talk(clause: Clause) -> bool:
    talk, sentence = clause.tongue.block("this_talk"), clause.sentence
    return talk is not None and any(
        map(lambda i: talk.ends(sentence, i), range(len(sentence.words)))
    )


def asked_first(action: Action, tongue: Language) -> Action:
    """What is understood, as a question: "I understood: … Is that what you want?"."""
    args = {k: str(v) for k, v in (action.args or {}).items()}
    order = tongue.order(action.tool, **args)
    said = tongue.said("understood", order=order)
    return Action(text=said, options=(order, tongue.said("neither")))


def as_question(text: str, asks: bool) -> str:
    """A question as the answerer is asked it: it begins small and ends with its mark."""
    text = text[:1].lower() + text[1:]
    return f"{text}?" if asks and not text.endswith("?") else text


def photo_alone(context: Context) -> Action:
    """What to do with a picture that comes without words."""
    return Action("classify_image" if context.labels else "caption_image", {})


def with_photos(action: Action, clause: Clause) -> Action:
    """With the numbers of the photos that the clause points at."""
    if clause.photos and action.tool in TAKE_PHOTOS:
        return replace(action, args={"photos": list(clause.photos), **(action.args or {})})
    return action
