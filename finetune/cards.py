"""Model cards: the page of a run's folder and of the shelf, and the one that the Hub shows.

Both say what was learned, from how many pictures, and how it was measured, beside its rivals. The
front matter is made by `huggingface_hub`. Knows nothing of files and of the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finetune.evaluation.intervals import decimal, percent
from finetune.instructions import how_to_load, hub_base
from finetune.settings.schema import Settings

__all__ = ["DECIMAL", "hub_card", "run_card"]

DECIMAL = ("cider", "log_likelihood")
"""Figures that are no shares."""
_FIGURES = {
    "accuracy": "accuracy",
    "generated_accuracy": "accuracy of the generated answer",
    "generated_unreadable": "generated answers that name no class",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "calibration_error": "calibration error",
    "exact_match": "exact match",
    "vqa_accuracy": "VQA accuracy",
    "bleu": "BLEU",
    "meteor": "METEOR",
    "cider": "CIDEr-D (of 10)",
    "map50": "mAP@0.5",
    "map": "mAP@[.5:.95]",
    "mean_iou": "mean IoU of what is there",
    "log_likelihood": "log-likelihood of a token of the right caption",
    "accuracy_by_name": "accuracy by the names alone",
    **{
        f"{way}_{key}": f"{words}: {figure}"
        for way, words in (
            ("same_class", "finds its class"),
            ("picture_to_text", "a picture finds its text"),
            ("text_to_picture", "a text finds its picture"),
        )
        for key, figure in (
            ("recall_at_1", "Recall@1"),
            ("recall_at_5", "Recall@5"),
            ("recall_at_10", "Recall@10"),
            ("mean_average_precision", "mAP"),
        )
    },
}
_HEADS = {"trained": "this", "base": "before training", "exemplars": "exemplars, no training"}
_NAMED = 100  # classes at most that a card lists
_FEW = 100
_TAGS = {"captioner": "image-to-text", "embedder": "zero-shot-image-classification"}
_METRICS = {"macro_f1": "f1", "generated_accuracy": "accuracy", "map50": "mAP@0.5", "map": "mAP"}
"""Ids of the Hub's, where they are other than ours."""


def run_card(settings: Settings, results: Mapping[str, Any]) -> str:
    """The page of a run: how to use it on this machine."""
    run = results["run"]
    use = (
        f"`python -m finetune predict {run} PICTURE…`, or publish it to the shelf: "
        f"`python -m finetune publish {run}`."
    )
    lines = [*_opening(results), *_measured(results), *_trained_on(settings, results)]
    return _whole(settings, results, [f"# {run}", "", *lines, "## Use", "", use])


def hub_card(
    settings: Settings, results: Mapping[str, Any], *, repo: str, licence: Mapping[str, Any]
) -> str:
    """The page of the repository ``repo``; ``settings`` and ``results`` name no path.

    ``licence``: ``license`` and what belongs to it, as front matter has them.
    """
    lines = [
        f"# {repo.partition('/')[2]}",
        "",
        *_opening(results),
        *_learned(results),
        *_measured(results),
        *_trained_on(settings, results),
        "The pictures are not in this repository; `manifest.json` names them by the SHA-256 of "
        "their pixels.",
        "",
        *_limits(results),
        "## Use",
        "",
        *how_to_load(settings, results, repo),
    ]
    return _whole(settings, results, lines, repo=repo, licence=licence)


def _hub_data_set(settings: Settings) -> str | None:
    """The Hub's name of the data set that was trained on, None where it is not of the Hub."""
    scheme, _, name = settings.data.source.partition("hf:")
    return name.partition("@")[0] if name and not scheme else None


def _whole(
    settings: Settings,
    results: Mapping[str, Any],
    lines: Sequence[str],
    *,
    repo: str | None = None,
    licence: Mapping[str, Any] | None = None,
) -> str:
    from huggingface_hub import ModelCardData

    method, base = settings.method, hub_base(results)
    adapter = method in ("lora", "qlora")
    role = "embedder" if settings.uses_embedder else settings.role
    data_set = _hub_data_set(settings)
    more: dict[str, Any] = (
        {"base_model_relation": "adapter" if adapter else "finetune"} if base else {}
    )
    data = ModelCardData(
        base_model=base,
        library_name="peft" if adapter else "transformers",
        pipeline_tag=_pipeline(settings),
        tags=["imprint", role, method, *(["lora"] if method == "qlora" else [])],
        datasets=[data_set] if data_set else None,
        model_name=repo.partition("/")[2] if repo else str(results["run"]),
        eval_results=_eval_results(settings, results, data_set),
        **(licence or {}),
        **more,
    )
    return "\n".join(["---", data.to_yaml(), "---", "", *lines, ""])


def _pipeline(settings: Settings) -> str:
    if settings.method == "box":
        return "object-detection"
    if settings.uses_embedder:
        return "image-classification"
    return _TAGS.get(settings.role, "image-text-to-text")


def _eval_results(
    settings: Settings, results: Mapping[str, Any], data_set: str | None
) -> list[Any]:
    """Each figure of this model, with its interval and of how many pictures in its name."""
    from huggingface_hub import EvalResult

    own = results["figures"]["trained"]
    task = "image-classification" if "accuracy" in own else _pipeline(settings)
    task = "visual-question-answering" if "exact_match" in own else task
    return [
        EvalResult(
            task_type=task,
            dataset_type=data_set or "private",
            dataset_name=data_set or f"pictures of its maker's: {results['measured_on']}",
            metric_type=_METRICS.get(key, key),
            metric_value=own[key]["value"],
            metric_name=(
                f"{words} (n = {own[key]['n']}, 95 % {own[key]['low']:g}–{own[key]['high']:g})"
            ),
        )
        for key, words in _FIGURES.items()
        if key in own
    ]


def _opening(results: Mapping[str, Any]) -> list[str]:
    model = results["model"]
    trained = [f"{s['part']}: {s['trained']:,} of {s['all']:,}" for s in model["trained"]]
    return [
        results["verdict"],
        "",
        f"`{results['method']}` on `{model['base_model']}` (id {model['base_id']}, "
        f"{model['precision']}).",
        f"Weights that trained: {'; '.join(trained) or 'none'}.",
        *([f"Asked: {model['question']}"] if model.get("question") else []),
        "",
    ]


def _learned(results: Mapping[str, Any]) -> list[str]:
    classes = results["classes"]
    if not classes:
        return []
    shown = ", ".join(_cell(name) for name in classes[:_NAMED])
    more = f" and {len(classes) - _NAMED} more" if len(classes) > _NAMED else ""
    return [f"It learned {len(classes)} classes: {shown}{more}.", ""]


def _measured(results: Mapping[str, Any]) -> list[str]:
    figures = results["figures"]
    names = [name for name in _HEADS if name in figures]
    rows = []
    for key, words in _FIGURES.items():
        if key in figures["trained"]:
            said_of = decimal if key in DECIMAL else percent
            cells = [said_of(figures[n][key]) if key in figures[n] else "" for n in names]
            rows.append(f"| {words} | {' | '.join(cells)} |")
    seconds = [f"{figures[n]['seconds_per_picture']['value'] * 1000:.0f} ms" for n in names]
    return [
        "## Measured",
        "",
        f"On {results['measured_on']}, {results['pictures']['measured']} pictures; figures of "
        f"{results['measured_model']}; 95 % intervals.",
        "",
        f"| | {' | '.join(_HEADS[n] for n in names)} |",
        f"|---|{'---|' * len(names)}",
        *rows,
        f"| time a picture | {' | '.join(seconds)} |",
        "",
        *_controls(results["controls"]),
        *_by_class(figures["trained"].get("classes", {})),
    ]


def _by_class(figures: Mapping[str, Any]) -> list[str]:
    if not figures:
        return []
    rows = [
        f"| {_cell(name)} | {' | '.join(percent(x[k]) for k in ('precision', 'recall', 'f1'))} |"
        for name, x in figures.items()
    ]
    head = ["| class | precision | recall | F1 |", "|---|---|---|---|"]
    return ["## By class", "", *head, *rows, ""]


def _controls(controls: Mapping[str, Any] | str) -> list[str]:
    if isinstance(controls, str):
        return [f"Controls were {controls}.", ""]
    marks = {True: "passed", False: "**look**"}
    return [f"- {marks[c['passed']]}: {c['found']}" for c in controls.values()] + [""]


def _trained_on(settings: Settings, results: Mapping[str, Any]) -> list[str]:
    counts = results["pictures"]
    return [
        "## Trained on",
        "",
        f"{counts['train']} pictures of `{settings.data.source}` ({counts['validation']} more to "
        "choose by).",
        "",
    ]


def _limits(results: Mapping[str, Any]) -> list[str]:
    measured, own = results["pictures"]["measured"], results["figures"]["trained"]
    lines = []
    if results["classes"]:
        lines.append(
            "- It names one of its classes, also of a picture that shows none of them: it does not "
            "say that it does not know."
        )
    lines.append(
        f"- The figures are of {measured} pictures of the kind that it was trained on; of other "
        "cameras, styles and places they say nothing."
    )
    if measured < _FEW:
        key = results["figure"]
        said = (decimal if key in DECIMAL else percent)(own[key])
        lines.append(f"- {measured} pictures are few; the interval says what that means: {said}.")
    if results["measured_model"] != "this one":
        lines.append(f"- The figures are of {results['measured_model']}; this one saw them all.")
    if results["model"]["precision"].startswith("nf4"):
        lines.append("- It was trained and measured beside a language model in 4-bit NF4.")
    return ["## Limits", "", *lines, ""]


def _cell(name: str) -> str:
    """A class's name where it can't end a cell of a table."""
    return " ".join(name.split()).replace("|", "\\|")
