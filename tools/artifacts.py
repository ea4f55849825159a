"""What tools hand to whoever shows their results: frozen data, one class a kind.

Knows nothing of tools or pages. Photos are named by id. Every artifact survives a round trip
through JSON (:func:`to_json`, :func:`from_json`), because a conversation outlives the process.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from tools.report import KnowledgeReport
from tools.training import AdapterUse, Training

__all__ = [
    "Answer",
    "Artifact",
    "Candidate",
    "Caption",
    "Change",
    "Comparison",
    "Concern",
    "Explanation",
    "Exported",
    "LabelList",
    "LabelSummary",
    "Matches",
    "Recognition",
    "Shown",
    "Told",
    "from_json",
    "to_json",
]


@dataclass(frozen=True)
class Candidate:
    """A name with its probability in [0, 1]."""

    name: str
    probability: float


@dataclass(frozen=True)
class Shown:
    """An exemplar shown as evidence or as a find; similarity is a cosine in [-1, 1]."""

    photo_id: str
    label: str
    similarity: float


@dataclass(frozen=True)
class Recognition:
    """What a photo was recognised as, and why."""

    photo_id: str
    decision: Literal["known", "ambiguous", "unknown"]
    candidates: tuple[Candidate, ...]
    source: Literal["taught", "vocabulary", "labels"]
    """Where the names come from: memory, the shipped vocabulary, or the question."""
    unknown: float = 0.0
    """P(none of the candidates)."""
    threshold: float = 0.0
    """``unknown`` above this means the decision *unknown*."""
    evidence: tuple[Shown, ...] = ()
    outside: bool = False
    """The photo is outside the world of the running models."""
    hint: str = ""
    """What the shipped vocabulary says of a photo that no taught label fits; may be empty."""
    adapter: str = ""
    """The adapter that had a vote; empty when none had."""
    vote: str = ""
    """The label it named."""
    alone: str = ""
    """What the taught pictures alone would say, when the vote decided otherwise."""
    kind: Literal["recognition"] = "recognition"

    @property
    def label(self) -> str | None:
        """The name when the decision is *known*, else None."""
        return self.candidates[0].name if self.decision == "known" else None


@dataclass(frozen=True)
class Caption:
    """A description of a photo."""

    photo_id: str
    text: str
    label: str = ""
    outside: bool = False
    kind: Literal["caption"] = "caption"


@dataclass(frozen=True)
class Told:
    """What the user answered to a question about another picture, or about this one."""

    photo_id: str
    question: str
    answer: str
    similarity: float
    """Of that picture to the one asked about, a cosine in the deciding metric, [-1, 1]."""


@dataclass(frozen=True)
class Answer:
    """An answer to a question about a photo."""

    photo_id: str
    question: str
    text: str
    outside: bool = False
    source: Literal["seen", "told"] = "seen"
    """Whether the model answered by looking, or the user's own answer was given back."""
    told: tuple[Told, ...] = ()
    """What the user had answered to this question, of the nearest picture that shows the same."""
    examples: tuple[Told, ...] = ()
    """What the model was shown beside the picture, the nearest first."""
    adapter: str = ""
    """The adapter that answered; empty when none did."""
    unread: tuple[str, ...] = ()
    """Words of the question that the model cannot read: what it said is a guess."""
    kind: Literal["answer"] = "answer"


@dataclass(frozen=True)
class Matches:
    """Exemplars found by likeness to a photo, by text, or by label; best first."""

    query: str
    items: tuple[Shown, ...]
    kind: Literal["matches"] = "matches"


@dataclass(frozen=True)
class Comparison:
    """Two photos: P(they show the same thing) and their similarity in [-1, 1]."""

    photo_ids: tuple[str, str]
    same: bool
    probability: float
    similarity: float
    kind: Literal["comparison"] = "comparison"


@dataclass(frozen=True)
class Concern:
    """Why a picture may teach little. It is told and shown; it never keeps a picture out."""

    kind: Literal["copy", "like", "blank", "dark", "bright", "blurred", "tiny"]
    photo_id: str
    label: str = ""
    """The label that the picture is *like*, or of the exemplar that it is a *copy* of."""
    other_photo_id: str = ""
    """The exemplar it is a copy of; empty for the other kinds."""
    probability: float = 0.0
    """Of the label it is like, in [0, 1]; 0 for the other kinds."""


@dataclass(frozen=True)
class Change:
    """A change of memory that *undo* can take back (``action`` undone or known: none)."""

    action: Literal[
        "taught",
        "known",
        "corrected",
        "rejected",
        "renamed",
        "merged",
        "aliased",
        "split",
        "answered",
        "forgotten",
        "undone",
    ]
    label: str
    """The label; of *answered* the question, of *forgotten* whatever went."""
    photo_ids: tuple[str, ...] = ()
    count: int = 0
    """Pictures the label has afterwards."""
    other: str = ""
    """The second name involved: the wrong label, the old name or the other one, what it was merged
    into or split from; of *answered* the answer."""
    concerns: tuple[Concern, ...] = ()
    """What the taught pictures lack."""
    same_as: str = ""
    """The label that is asked about: the same thing, or a new one? Empty when it is not asked."""
    more: bool = False
    """Of *undone*: whether another change can be taken back after it."""
    again: tuple[str, ...] = ()
    """Of *undone*: the label that each picture has once more which had another before."""
    kind: Literal["change"] = "change"


@dataclass(frozen=True)
class LabelSummary:
    """One label: how many exemplars and negatives it has, and some of its photos."""

    name: str
    count: int
    negatives: int
    description: str
    photo_ids: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    """What it is also called."""


@dataclass(frozen=True)
class LabelList:
    """Every label of the memory, in the order of teaching."""

    labels: tuple[LabelSummary, ...]
    kind: Literal["labels"] = "labels"


@dataclass(frozen=True)
class Explanation:
    """The recognition that is explained."""

    recognition: Recognition
    kind: Literal["explanation"] = "explanation"


@dataclass(frozen=True)
class Exported:
    """A pack of all that was taught, in the folder of exports; ``file`` is its name there."""

    file: str
    labels: int
    pictures: int
    kind: Literal["exported"] = "exported"


Artifact = (
    Recognition
    | Caption
    | Answer
    | Matches
    | Comparison
    | Change
    | LabelList
    | KnowledgeReport
    | Explanation
    | Training
    | AdapterUse
    | Exported
)
_ADAPTER: TypeAdapter[Artifact] = TypeAdapter(Annotated[Artifact, Field(discriminator="kind")])


def to_json(artifact: Artifact) -> dict[str, Any]:
    """``artifact`` as JSON-ready data."""
    data: dict[str, Any] = _ADAPTER.dump_python(artifact, mode="json")
    return data


def from_json(data: Any) -> Artifact:
    """The artifact of :func:`to_json`'s data; raises pydantic's ``ValidationError``."""
    return _ADAPTER.validate_python(data)
