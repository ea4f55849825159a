"""How a published model is loaded, as its card says it: without Imprint, and with it.

Knows nothing of figures. What is written here is run by the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetune.settings.schema import Settings

__all__ = ["how_to_load", "hub_base"]


def hub_base(results: Mapping[str, Any]) -> str | None:
    """The Hub's name of the model it started from: one in the Hub's cache has a revision."""
    model = results["model"]
    base = str(model["base_model"]).partition("@")[0]
    return base if model["revision"] and base[:1] not in ("/", ".", "~") else None


def how_to_load(settings: Settings, results: Mapping[str, Any], repo: str) -> list[str]:
    """Markdown: with transformers alone, and with Imprint, as far as either can."""
    name = _shelf_name(repo.partition("/")[2])
    anyway = "" if results["worth_using"] else " --anyway"
    shelf = [
        "With Imprint, whose assistant then uses it:",
        "",
        "```sh",
        f"hf download {repo}",
        f"python -m finetune publish hf:{repo} --as {name}",
        f"python -m finetune shelf use {name}{anyway}",
        "```",
    ]
    code = _code(settings, results, repo)
    alone = ["With transformers alone:", "", "```python", *code, "```", ""] if code else []
    if settings.method in ("lora", "qlora"):
        alone[0] = "With PEFT and transformers alone:"
    if not settings.uses_embedder:
        return [*alone, *shelf]
    return alone or [f"`{settings.method}` is a method of Imprint's, which has the code to run it."]


def _shelf_name(name: str) -> str:
    """``name`` as the shelf can have it."""
    return name.lower().lstrip("._-") or "adapter"


def _code(settings: Settings, results: Mapping[str, Any], repo: str) -> list[str]:
    """Python that loads it without Imprint; none where a method is more than weights."""
    linear = settings.method == "linear"
    if settings.uses_embedder and not linear:
        return []
    embeds = linear or settings.role == "embedder"
    auto = "AutoModel" if embeds else "AutoModelForImageTextToText"
    where, at = _base_in_code(results)
    exact = ', dtype="float32"' if linear else ""  # as the head is
    lines = [
        *where,
        f"model = {auto}.from_pretrained({at}{exact})",
        f"processor = AutoProcessor.from_pretrained({at})",
    ]
    imports = [f"from transformers import {auto}, AutoProcessor"]
    if settings.method in ("lora", "qlora"):
        lines.append(f'model = PeftModel.from_pretrained(model, "{repo}").eval()')
        return ["from peft import PeftModel", *imports, "", *lines]
    imports = [
        "from huggingface_hub import hf_hub_download",
        "from safetensors.torch import load_file",
        *imports,
    ]
    if not linear:
        lines += [
            f'weights = load_file(hf_hub_download("{repo}", "weights.safetensors"))',
            "assert not model.load_state_dict(weights, strict=False).unexpected_keys",
        ]
        return [*imports, "", *lines]
    return [
        "import json",
        "from pathlib import Path",
        "from torch.nn.functional import normalize",
        *imports,
        "",
        *lines,
        f'head = load_file(hf_hub_download("{repo}", "head.safetensors"))',
        f'classes = json.loads(Path(hf_hub_download("{repo}", "classes.json")).read_text())',
        'tower = {n[6:]: w for n, w in head.items() if n.startswith("tower.")}',
        "assert not model.load_state_dict(tower, strict=False).unexpected_keys",
        "",
        "",
        "def logits(image):",
        '    pixels = processor(images=image, return_tensors="pt")',
        "    vector = normalize(model.get_image_features(**pixels).pooler_output, dim=-1)",
        '    return model.logit_scale.exp() * vector @ head["weight"].T + head["bias"]',
    ]


def _base_in_code(results: Mapping[str, Any]) -> tuple[list[str], str]:
    """Lines that say where the model it started from is, and what `from_pretrained` is given."""
    model = results["model"]
    if (base := hub_base(results)) is not None:
        return [], f'"{base}", revision="{model["revision"]}"'
    scheme, _, name = str(model["base_model"]).partition("pocket:")
    if name and not scheme:
        folder = f'f"{{tools.models.__path__[0]}}/pocket/{name}"'
        return ["import tools.models  # of Imprint", f"base = {folder}"], "base"
    return [f'base = "{model["base_model"]}"  # its folder, id {model["base_id"]}'], "base"
