"""One handler an intent: what a phrase that fits means here, or that it means nothing.

Those that change memory are in :mod:`assistant.router.teaching` and
:mod:`assistant.router.ordering`, those about training in :mod:`assistant.router.training`, those
that compare in :mod:`assistant.router.comparing`; these ask and talk. Knows nothing of how a
message is taken apart.
"""

import re

from assistant.router.actions import Action, Context
from assistant.router.comparing import COMPARING
from assistant.router.language import Reading
from assistant.router.names import find_known, name_in, names_in
from assistant.router.ordering import ORDERING
from assistant.router.pointing import Handler
from assistant.router.reading import Clause
from assistant.router.teaching import TEACHING, teach_action
from assistant.router.training import TRAINING

__all__ = ["HANDLERS", "TAKE_PHOTOS"]

# "how well do you know them?" is about everything, or about what was just recognised
_ALL = re.compile(
    r"|(?:this|that|it|him|her|them|these|those|this one)|(?:all |any )?(?:of )?"
    r"(?:(?:the|these|those|your|my) )?(?:things?|pictures?|photos?|drawings?|labels?|names?|"
    r"everything|everyone|stuff)(?: .*)?|(?:what|everything|all)(?: that)? i .*|recogni[sz].*|"
    r"(?:the|my|your) world|(?:things|them) apart|.*\band\b.*",
    re.I,
)
_LIKE = re.compile(
    r"(?:similar|more|other|others|some)?\s*(?:pictures?|ones?|photos?|images?|similar|more|like "
    r"(?:this|that|it)|matches)(?: (?:like|to) (?:this|that|it|one))?",
    re.I,
)
_OF = re.compile(r"^(?:(?:pictures?|photos?|images?|drawings?|pics?) )?of (?:an? |the |my )?", re.I)
_PICTURES = re.compile(r"\s(?:pictures?|photos?|images?|drawings?|pics?|ones?)$", re.I)
# "show me what you see", "find out who this is": no search
_NO_QUERY = re.compile(
    r"(?:else|you|me|us|it|this|that|them|all|everything|up|out|how|what|who|why|where|your|more|again|"
    r"hello|help|a (?:hint|clue|joke|story|moment|second|minute|break|poem|song)|to|that)\b.*",
    re.I,
)


_OTHER = re.compile(
    r"(?:some|any)(?:thing|one|body) else|not?(?: (?:really|at all|that))?|nah|nope|naw|yes|what|"
    r"(?:it|that|this)(?: is|'s)? not|is not|neither|none|other|another|else|isn't it|whatever",
    re.I,
)
_CERTAIN = re.compile(r"\b(?:sure|confident|certain)\b", re.I)
_WITHIN = re.compile(r"\b(?:in|on|from|within) (?:this|that|the|my|it|here|there|these)\b.*", re.I)
_EVERYTHING = re.compile(
    r"(?:(?:all|every|everything|each|any|the|these|those|of|you|can|see|it|this|that|them|here|"
    r"there|in|on|object|thing|picture|photo|image|drawing|subject|everybody|anything)s?\s*)+",
    re.I,
)


def _named(reading: Reading, clause: Clause, context: Context) -> str | None:
    """The label that is named; "it" names none."""
    slot = reading.slots.get("label", "")
    return name_in(slot, context.labels, typos=True, tongue=clause.tongue)


def _plain(tool: str) -> Handler:
    return lambda reading, clause, context: Action(tool, {})


def _say(key: str) -> Handler:
    return lambda reading, clause, context: Action(text=clause.tongue.said(key))


def _on_among(reading: Reading, clause: Clause, context: Context) -> Action | None:
    slots = ", ".join(reading.slots[k] for k in ("list", "other") if k in reading.slots)
    names = names_in(slots, context.labels, clause.tongue)
    asking = clause.tongue.asking  # "which it is, zorb or blick"
    asked = [n for n in names if n.split()[0].casefold() in asking]
    if asked and reading.intent == "among_names":
        return None  # "is it | a zorb": another line has it without the question
    names = [n for n in names if not _OTHER.fullmatch(n) and n not in asked]
    # "is it red or blue?" is a question about the picture
    nouns = re.search(r"\b(?:an?|ein|eine|einen|un|une|una|uno)\b", slots, re.I)
    ordered = not clause.question and reading.intent == "among"
    if len(names) == 1 and names[0] in context.labels:
        return Action("classify_image", {"labels": names})
    meant = nouns or ordered or ":" in clause.text or any(n in context.labels for n in names)
    if reading.intent == "among_names" and context.turn_photos:  # "dog or cat", and no adjectives
        meant = meant or all(name_in(n, (), tongue=clause.tongue) for n in names)
    if meant and len(names) > 1 and all(len(n.split()) <= 4 for n in names):
        return Action("classify_image", {"labels": names})
    return None


def _on_among_names(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """ "Zorb or blick?": names alone."""
    if not (context.turn_photos or context.photo_count):
        return None
    return _on_among(reading, clause, context)


def _on_is_it(reading: Reading, clause: Clause, context: Context) -> Action | None:
    slot = reading.slots["label"]
    label = _named(reading, clause, context)
    named = re.match(r"(?:an?|the|called|named|ein|eine|un|une|una)\s", slot, re.I)
    many = re.match(r"(?:are )?(?:these|those|they|both|all)\b", clause.text, re.I)
    short = len(slot.split()) <= 3 or slot[:1] in "\"“'"
    if label and (find_known(label, context.labels) or (named and short) or many):
        return Action("classify_image", {"labels": [label]})
    return None


def _on_is_it_asked(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """Where a question has the words of a statement: only its mark tells."""
    return _on_is_it(reading, clause, context) if clause.marked else None


def _on_find(reading: Reading, clause: Clause, context: Context) -> Action | list[Action] | None:
    query = _OF.sub("", reading.slots["query"].strip(" ?!."))
    if _LIKE.fullmatch(query):
        return Action("find_similar", {})
    for named in (query, _PICTURES.sub("", query)):  # "all the Rex pics"
        known = name_in(named, context.labels, typos=True, tongue=clause.tongue)
        if known in context.labels:
            return Action("find_similar", {"query": known})
    names = names_in(query, context.labels, clause.tongue)
    if len(names) > 1 and all(n in context.labels for n in names):
        return [Action("find_similar", {"query": n}) for n in names]
    if _NO_QUERY.fullmatch(query) or clause.tongue.code != "en":
        return None
    here = re.search(
        r"\b(?:here|picture|photo|image|this|it)\b|^(?:is|are|any\w*|some(?:one|body))\b",
        clause.text,
        re.I,
    )
    asked = _WITHIN.search(query) is not None and context.photo_count and not context.labels
    if asked or (context.turn_photos and here):
        return None  # a question about the picture
    return Action("find_similar", {"query": query})


def _on_find_label(reading: Reading, clause: Clause, context: Context) -> Action | None:
    label = _named(reading, clause, context)
    if context.turn_photos and clause.sentence.words[0] in ("a", "an", "the", "picture", "photo"):
        return None  # "a picture of a zorb" says what this one is
    return Action("find_similar", {"query": label}) if label in context.labels else None


def _on_report(reading: Reading, clause: Clause, context: Context) -> Action | None:
    slot = reading.slots.get("label", "")
    general = re.match(r"(?:do you|what do)\b", " ".join(clause.sentence.words))
    known = find_known(_named(reading, clause, context) or "", context.labels)
    if slot and general and (known is None or context.turn_photos):
        return None  # "do you know this?" asks about a picture
    if _ALL.fullmatch(slot):
        found = context.recognised
        pointed = re.fullmatch(r"(?:it|that|this(?: one)?|him|her)", slot, re.I) and not re.search(
            r"\bat\b|\bdoing\b", clause.text
        )
        if pointed and _CERTAIN.search(clause.text):
            return None  # of what it just said
        if pointed and found is not None and found.source == "taught" and found.label:
            return Action("report_knowledge", {"label": found.label})
        return Action("report_knowledge", {})
    label = name_in(slot, context.labels, plural=True, typos=True, tongue=clause.tongue)
    if known is None and context.recognised and _CERTAIN.search(clause.text):
        return None  # "how sure are you, on a scale of 1 to 10": of what it just said
    return Action("report_knowledge", {"label": label} if label else {})


def _on_why(reading: Reading, clause: Clause, context: Context) -> Action | None:
    label = reading.slots.get("label")
    if label and find_known(_named(reading, clause, context) or "", context.labels) is None:
        return None
    return Action("explain_answer", {})


def _on_ask(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """ "Tell me the colour of the hat": a question, if there is a picture."""
    teaches = "as" in clause.sentence.words  # "count this as a zorb"
    if teaches or not (context.turn_photos or context.photo_count):
        return None
    return Action("answer_question", {"question": clause.text[:1].lower() + clause.text[1:]})


def _question(text: str) -> Handler:
    """A question of another language in the words of the answerer's."""

    def handle(reading: Reading, clause: Clause, context: Context) -> Action | None:
        seen = context.turn_photos or context.photo_count
        return Action("answer_question", {"question": text}) if seen else None

    return handle


def _on_teach_answer(reading: Reading, clause: Clause, context: Context) -> Action | None:
    question, answer = (reading.slots[k].strip(" \"“”'?,.;:") for k in ("question", "answer"))
    if question.endswith(" the") and answer.startswith("is "):  # "… who made it the answer is …"
        answer = answer.removeprefix("is ")
    question = re.sub(r"\W*(?:\s(?:and|the|correct|right))+$", "", question)
    if not question or not answer:
        return None
    return Action("teach_answer", {"question": question, "answer": answer})


def _on_classify(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """ "The cat", asked "a dog or a cat?", says which; else the words ask."""
    found = context.recognised
    if context.asked and found is not None and not clause.question:
        label = name_in(clause.text, context.labels, tongue=clause.tongue)
        if label in [c.name for c in found.candidates]:
            return teach_action(label, context)
    return Action("classify_image", {})


def _on_mumble(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """ "Hm?": with a picture a question, without one nothing."""
    if context.turn_photos and clause.marked:
        return Action("classify_image", {})
    return Action(text=clause.tongue.said("agree"))


def _on_detect(reading: Reading, clause: Clause, context: Context) -> Action:
    """Of what is named; else of everything."""
    slot = _WITHIN.sub("", reading.slots.get("list", ""))
    found = names_in(slot, context.labels, clause.tongue)
    several = re.search(r"\b(?:all|every|each|any)\b", clause.text, re.I) is not None
    names = [name_in(n, context.labels, plural=several, typos=True) or n for n in found]
    names = [n for n in names if not _EVERYTHING.fullmatch(n)]
    return Action("detect_objects", {"labels": names} if names else {})


def _on_known(reading: Reading, clause: Clause, context: Context) -> Action | None:
    label = reading.slots.get("label")
    if label is not None and _named(reading, clause, context) not in context.labels:
        return None
    return Action("list_labels", {})


HANDLERS: dict[str, Handler] = {
    **TEACHING,
    **ORDERING,
    **TRAINING,
    **COMPARING,
    "teach_answer": _on_teach_answer,
    "report": _on_report,
    "known": _on_known,
    "why": _on_why,
    "among": _on_among,
    "among_names": _on_among_names,
    "is_it": _on_is_it,
    "is_it_asked": _on_is_it_asked,
    "ask": _on_ask,
    "ask_place": _on_ask,
    "ask_colour": _question("what colour is it?"),
    "ask_count": _question("how many are there?"),
    "mumble": _on_mumble,
    "classify": _on_classify,
    "caption": _plain("caption_image"),
    "find_label": _on_find_label,
    "find_like": _plain("find_similar"),
    "find": _on_find,
    "export_memory": _plain("export_memory"),
    "import_memory": _plain("import_memory"),
    "detect": _on_detect,
    "dont_know": _say("dont_know"),
    "filler": _say("agree"),
    "hello": _say("hello"),
    "bye": _say("bye"),
    "thanks": _say("thanks"),
    "help": _say("help"),
}
TAKE_PHOTOS = {
    "classify_image",
    "caption_image",
    "answer_question",
    "find_similar",
    "teach_label",
    "correct_label",
    "reject_label",
    "forget_pictures",
    "split_label",
    "teach_answer",
}
