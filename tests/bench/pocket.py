"""What the shipped pocket models can do, on a drawing style, photos and letters never trained on.

    python -m tests.bench.pocket --data DIR [--style fluent_3d] [--sheet FILE.png]

Prints one table with n and 95 % (Wilson) intervals. Episodes draw again from the same pictures, so
their intervals are for the sampling of episodes, given these pictures.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from finetune.pocket.drawings import COLOURS, MAIN_GROUPS, Gallery, load_gallery
from finetune.pocket.easy_vqa import EasyVqa
from finetune.pocket.evaluate import (
    character_pictures,
    episodes,
    interval,
    load_held_out,
    photo_pictures,
)
from finetune.pocket.recipe import WorldSettings, held_out_questions, held_out_scenes
from finetune.pocket.tower import normalise
from finetune.pocket.world import Scene, chance_for, render_scenes
from tools.config import load_config
from tools.images import open_photo
from tools.models import open_models
from tools.sight import Sight

SHIPPED = Path(__file__).parents[2] / "tools" / "models" / "pocket"
UNSEEN_GROUPS = ("symbols", "people & body")
_NUMBER = re.compile(r"^(an?|one|two|three|four|the) ")


def row(name: str, hits: float, n: int) -> None:
    """One line of the table."""
    low, high = interval(hits, n)
    share = 100 * hits / max(1, n)
    print(f"| {name:<58} | {share:5.1f} % | {n:5d} | {100 * low:5.1f}–{100 * high:5.1f} |")


def embedder(model: Any) -> Callable[[Tensor], Tensor]:
    """Pictures in 0..1 -> unit embeddings of the shipped CLIP."""

    @torch.no_grad()
    def embed(pictures: Tensor) -> Tensor:
        rows = [
            model.get_image_features(pixel_values=normalise(p)).pooler_output.float()
            for p in pictures.split(128)
        ]
        return F.normalize(torch.cat(rows), dim=-1)

    return embed


def clip_rows(data: Path, style: str, model: Any, processor: Any) -> None:
    """Recognition and naming."""
    from finetune.pocket.clip_text import name_ranks

    embed = embedder(model)
    groups = (*MAIN_GROUPS, "smileys & emotion")
    held_out = load_held_out(data, style=style, groups=MAIN_GROUPS)
    row(f"20-way one-shot, taught in another style, {style}", *held_out.one_shot(embed))
    unseen = load_held_out(data, style=style, groups=UNSEEN_GROUPS)
    row("  the same, things never trained on (symbols, people)", *unseen.one_shot(embed))
    styles = dict.fromkeys((*WorldSettings().styles, style))
    gallery = load_gallery(data, styles=list(styles), groups=groups, garments_per_class=2)
    ranks = name_ranks(model, processor.tokenizer, gallery, held_out)
    offered = len(
        [i for i in gallery.of_kind("drawing") if gallery.concepts[i].group in MAIN_GROUPS]
    )
    row(f"name among {offered}, top-1", int((ranks < 1).sum()), len(ranks))
    row(f"name among {offered}, top-5", int((ranks < 5).sum()), len(ranks))
    for name, (pictures, classes), ways in (
        ("20-way one-shot photos, classes never seen", photo_pictures(data), 20),
        ("5-way one-shot letters, alphabet never seen", character_pictures(data), 5),
    ):
        rows = embed(pictures).numpy()
        row(name, *episodes(rows, classes, rows, classes, ways=ways, count=2000))


def said_things(text: str) -> list[str]:
    """The things a caption names: "two red apples and a cat on a blue background" -> 2 names."""
    text = re.sub(r" on an? \w+ background$", "", text)
    parts = re.split(r", | and | to the (?:left|right) of | above | below ", text)
    names = []
    for part in parts:
        part = _NUMBER.sub("", part.strip())
        first, _, rest = part.partition(" ")
        names.append(rest if first in COLOURS and rest else part)
    return [n for n in names if n]


def _means(said: str, gallery: Gallery, concept: int) -> bool:
    from finetune.pocket.talk import plural

    c = gallery.concepts[concept]
    words = {c.spoken, c.name, *c.aliases, *c.tags}
    words |= {plural(w) for w in words}
    return said in words or any(w in said.split() for w in words)


def caption_rows(
    model: Any, tokenizer: Any, gallery: Gallery, scenes: Sequence[Scene], name: str
) -> None:
    """Things named, and named though absent."""
    from finetune.pocket.blip import caption_pictures

    pictures = render_scenes(gallery, scenes, chance=chance_for(5), strength=0.0)
    things = named = said = absent = 0
    for text, scene in zip(caption_pictures(model, tokenizer, pictures), scenes, strict=True):
        concepts = {t.concept for t in scene.things}
        names = said_things(text)
        things += len(concepts)
        named += sum(any(_means(n, gallery, c) for n in names) for c in concepts)
        said += len(names)
        absent += sum(not any(_means(n, gallery, c) for c in concepts) for n in names)
    row(f"caption, {name}: things named (name, alias or tag)", named, things)
    row(f"caption, {name}: names of things not there", absent, said)


def answer_rows(data: Path, style: str, model: Any, tokenizer: Any) -> None:
    """Exact answers, by kind of question."""
    from finetune.pocket.llava import exact

    results = exact(model, tokenizer, *EasyVqa(data / "easy_vqa").held_out())
    row("easy_vqa, pictures held out, exact", sum(r for _, r in results), len(results))
    world = WorldSettings(held_out_style=style)
    results = exact(model, tokenizer, *held_out_questions(data, world, 800))
    for kind in sorted({a.kind for a, _ in results}):
        mine = [right for asked, right in results if asked.kind == kind]
        row(f"composed scenes in {style}: {kind}", sum(mine), len(mine))


def product_rows(data: Path, style: str) -> None:
    """Single drawings as the product captions them: the embedder picks among six captions."""
    sight = Sight(open_models(load_config(profile="pocket")))
    gallery = load_gallery(data, styles=(style,), groups=MAIN_GROUPS)
    drawings = [c for c in gallery.concepts if c.kind == "drawing" and c.sprites]
    hits = 0
    for concept in drawings:
        pixels = gallery.sprites[concept.sprites[0]].transpose(1, 2, 0)
        text = sight.describe(open_photo(Image.fromarray(pixels, "RGBA")))
        words = (concept.spoken, concept.name, *concept.aliases, *concept.tags)
        hits += any(w.lower() in text for w in words if len(w) > 2)
    row(f"caption as the product chooses it, one drawing, {style}", hits, len(drawings))


def milliseconds(work: Callable[[], object], times: int = 20) -> float:
    """Median time of a call."""
    work()
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        spent.append(1000 * (time.perf_counter() - start))
    return statistics.median(spent)


def sheet(path: Path, pictures: Tensor, texts: Sequence[str]) -> None:
    """Pictures with what a model says below each."""
    wide, tall = 150, 100
    columns = 8
    out = Image.new("RGB", (columns * wide, -(-len(texts) // columns) * tall), "white")
    draw = ImageDraw.Draw(out)
    for i, text in enumerate(texts):
        x, y = i % columns * wide, i // columns * tall
        pixels = (pictures[i] * 255).byte().permute(1, 2, 0).numpy()
        out.paste(Image.fromarray(np.ascontiguousarray(pixels)), (x + 4, y + 2))
        draw.text((x + 4, y + 68), "\n".join(re.findall(r".{1,26}(?: |$)", text)[:3]), "black")
    out.save(path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--style", default="fluent_3d")
    parser.add_argument("--models", type=Path, default=SHIPPED)
    parser.add_argument("--sheet", type=Path)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    from transformers import (
        BlipForConditionalGeneration,
        BlipProcessor,
        CLIPModel,
        CLIPProcessor,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    def load(kind: Any, name: str) -> Any:
        loaded = kind.from_pretrained(args.models / name, local_files_only=True)
        return loaded.eval() if hasattr(loaded, "eval") else loaded

    clip, clip_processor = load(CLIPModel, "clip"), load(CLIPProcessor, "clip")
    blip, blip_processor = load(BlipForConditionalGeneration, "blip"), load(BlipProcessor, "blip")
    llava = load(LlavaForConditionalGeneration, "llava")
    llava_processor = load(LlavaProcessor, "llava")
    llava.set_attn_implementation("eager")
    print(f"| {'measured':<58} | result  |     n | 95 % interval |\n|{'-' * 60}|---|---|---|")
    clip_rows(args.data, args.style, clip, clip_processor)
    world = WorldSettings(held_out_style=args.style)
    singles = held_out_scenes(args.data, world, 600, single=1.0)
    caption_rows(blip, blip_processor.tokenizer, *singles, "one thing")
    caption_rows(
        blip, blip_processor.tokenizer, *held_out_scenes(args.data, world, 300, single=0.0),
        "two to four things",
    )  # fmt: skip
    for each in (args.style, *world.styles):
        product_rows(args.data, each)
    answer_rows(args.data, args.style, llava, llava_processor.tokenizer)

    picture = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(picture).ellipse((20, 20, 100, 100), fill="red")
    content = [{"type": "image", "image": picture}, {"type": "text", "text": "What is this?"}]
    for model in (clip, blip, llava):
        model.float()
    pixels = clip_processor(images=picture, return_tensors="pt")["pixel_values"]
    batch = blip_processor(images=picture, return_tensors="pt")
    chat = llava_processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True,
        return_dict=True, return_tensors="pt",
    )  # fmt: skip
    with torch.no_grad():
        for name, work in (
            ("embed", lambda: clip.get_image_features(pixel_values=pixels)),
            ("caption", lambda: blip.generate(**batch, max_new_tokens=16)),
            ("answer", lambda: llava.generate(**chat, max_new_tokens=8)),
        ):
            print(f"| {name + ', one picture, float32':<58} | {milliseconds(work):4.0f} ms |")
    if args.sheet:
        from finetune.pocket.blip import caption_pictures

        gallery, scenes = held_out_scenes(args.data, world, 64)
        pictures = render_scenes(gallery, scenes, chance=chance_for(5), strength=0.0)
        blip.bfloat16()
        sheet(args.sheet, pictures, caption_pictures(blip, blip_processor.tokenizer, pictures))


__all__ = ["main", "said_things"]

if __name__ == "__main__":
    main()
