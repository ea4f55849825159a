"""``caption_image``: a photo in words.

Knows nothing of which captioner runs.
"""

from typing import Annotated

from langchain_core.tools import InjectedToolArg, tool

from tools.artifacts import Caption
from tools.describing import describe
from tools.desk import Desk
from tools.images import Photo
from tools.outside import outside_note
from tools.wording import article, sentence

__all__ = ["caption_image"]


@tool(response_format="content_and_artifact", parse_docstring=True)
def caption_image(
    photos: list[int] | None = None,
    *,
    desk: Annotated[Desk, InjectedToolArg],
) -> tuple[str, list[Caption]]:
    """Describe a photo in a sentence, and say which taught thing is in it.

    Args:
        photos: Numbers of the photos; leave out for those of this message, or the last one.
    """
    chosen = desk.look(photos)
    captions = [_caption(desk, photo) for photo in chosen]
    texts = [_worded(c, p) for c, p in zip(captions, chosen, strict=True)]
    if len(texts) > 1:
        numbers = desk.numbers(photos)
        texts = [f"Photo {n}: {t}" for n, t in zip(numbers, texts, strict=True)]
    return "\n".join(x for x in (*texts, desk.models.adapters.news()) if x), captions


def _caption(desk: Desk, photo: Photo) -> Caption:
    text = describe(desk.sight, photo, desk.recall, stop=desk.stop)
    if desk.on_token is not None:
        desk.on_token(text)
    label = ""
    if any(e.positive for e in desk.memory.state.exemplars.values()):
        found = desk.recall.recognise(photo)
        if found.decision == "known":
            label = found.candidates[0].name
    return Caption(photo.id, text, label, desk.sight.outside(photo))


def _worded(caption: Caption, photo: Photo) -> str:
    parts = [sentence(caption.text) or "I see nothing I could describe."]
    if caption.label:
        parts.append(f"You taught me this one: {article(caption.label)}.")
    if caption.outside:
        parts.append(outside_note())
    return " ".join([*parts, *photo.notes])
