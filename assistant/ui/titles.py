"""What a tool does, in the user's words: the titles of the steps above an answer.

Knows nothing of how tools work; a tool without words here is shown by its name.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["title_of"]

# While it runs, and when it is done. Names in braces are arguments; a title that needs one that
# is not there falls back to the plainer line below it.
_TITLES: dict[str, list[tuple[str, str]]] = {
    "classify_image": [
        ("Checking whether it is {labels}", "Checked whether it is {labels}"),
        ("Looking at the picture", "Looked at the picture"),
    ],
    "caption_image": [("Describing the picture", "Described the picture")],
    "answer_question": [("Looking for the answer", "Looked for the answer")],
    "find_similar": [
        ("Searching what I know for “{query}”", "Searched what I know for “{query}”"),
        ("Searching what I know", "Searched what I know"),
    ],
    "compare_images": [("Comparing the pictures", "Compared the pictures")],
    "teach_label": [("Learning “{label}”", "Learned “{label}”")],
    "teach_answer": [("Remembering the answer “{answer}”", "Remembered the answer “{answer}”")],
    "correct_label": [("Correcting to “{label}”", "Corrected to “{label}”")],
    "reject_label": [
        ("Noting that it is not “{label}”", "Noted that it is not “{label}”"),
        ("Noting that this was wrong", "Noted that this was wrong"),
    ],
    "rename_label": [("Renaming “{label}” to “{new}”", "Renamed “{label}” to “{new}”")],
    "merge_labels": [("Merging “{label}” into “{into}”", "Merged “{label}” into “{into}”")],
    "alias_label": [
        ("Noting that “{label}” is also “{alias}”", "Noted that “{label}” is also “{alias}”")
    ],
    "split_label": [
        ("Splitting “{label}” into it and “{new}”", "Split “{label}” into it and “{new}”"),
        ("Splitting “{label}”", "Split “{label}”"),
    ],
    "forget_label": [("Forgetting “{label}”", "Forgot “{label}”")],
    "forget_pictures": [("Forgetting the picture", "Forgot the picture")],
    "forget_since": [("Forgetting what I was taught lately", "Forgot what I was taught lately")],
    "forget_everything": [("Forgetting everything", "Forgot everything")],
    "undo": [("Taking the last change back", "Took the last change back")],
    "list_labels": [("Going through what I know", "Went through what I know")],
    "report_knowledge": [
        ("Testing how well I know “{label}”", "Tested how well I know “{label}”"),
        ("Testing what I know", "Tested what I know"),
    ],
    "explain_answer": [("Gathering the reasons", "Gathered the reasons")],
    "train_adapter": [
        ("Starting to train on {labels}", "Started to train on {labels}"),
        ("Starting to train", "Started to train"),
    ],
    "training_status": [("Looking at the training", "Looked at the training")],
    "cancel_training": [("Stopping the training", "Stopped the training")],
    "export_memory": [("Packing what I know", "Packed what I know")],
    "use_adapter": [("Changing what I answer with", "Changed what I answer with")],
}
_LONGEST = 60


def title_of(name: str, args: Mapping[str, Any], *, done: bool) -> str:
    """The title of a call of tool ``name``; plain text."""
    words = {k: _short(v) for k, v in args.items() if v}
    for running, finished in _TITLES.get(name, []):
        try:
            return (finished if done else running).format_map(words)
        except KeyError:
            continue
    return name.replace("_", " ")


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
