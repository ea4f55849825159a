"""What the shipped pocket models can do, on drawing styles, photos and letters never trained on.

    python -m tests.bench.pocket --data DIR [--style DIR --style DIR --annotations JSON]

Prints one table with n and 95 % (Wilson) intervals. Episodes draw again from the same pictures, so
their intervals are for the sampling of episodes, given these pictures.

A `--style` is the name of a style below DATA/emoji, or a folder of drawings: then the JSON says, as
DATA/emoji/annotations.json does, which file shows what (`id`, and `images`: the folder's name to a
path beside the JSON; where it does not say, a file in the folder named as in the other styles).
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from finetune.pocket.drawings import MAIN_GROUPS, Gallery, load_gallery
from finetune.pocket.easy_vqa import EasyVqa
from finetune.pocket.evaluate import (
    character_pictures,
    episodes,
    interval,
    load_held_out,
    photo_pictures,
)
from finetune.pocket.recipe import WorldSettings, held_out_questions, held_out_scenes
from finetune.pocket.talk import Asked
from finetune.pocket.teacher import HELD_OUT_PHOTOS
from finetune.pocket.tower import normalise
from finetune.pocket.world import Scene, chance_for, render_scenes
from tools.colours import COLOURS
from tools.config import load_config
from tools.describing import NAMELESS, NAMELESS_MANY, describe
from tools.images import Photo, open_photo
from tools.looking import look_closer
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


def with_styles(
    data: Path, styles: Sequence[str], annotations: Path | None, folder: Path
) -> tuple[Path, list[str]]:
    """`data` as it is, or a copy made of links in `folder` that also holds the styles from outside.

    Returns it and the names of the styles.
    """
    known = {p.name for p in (data / "emoji").iterdir() if p.is_dir()}
    outside = {Path(s).name: Path(s) for s in styles if s not in known}
    if not outside:
        return data, list(styles)
    if annotations is None:
        raise SystemExit(f"--annotations: which drawing of {', '.join(outside)} shows what?")
    (folder / "emoji").mkdir(parents=True)
    for path in data.iterdir():
        if path.name != "emoji":
            (folder / path.name).symlink_to(path.resolve())
    for path in (data / "emoji").iterdir():
        if path.is_dir() and path.name not in outside:
            (folder / "emoji" / path.name).symlink_to(path.resolve())
    given = {r["id"]: r["images"] for r in json.loads(annotations.read_text(encoding="utf-8"))}
    records = json.loads((data / "emoji" / "annotations.json").read_text(encoding="utf-8"))
    for name, source in outside.items():
        if not source.is_dir():
            raise SystemExit(f"--style {source}: not a folder, and no style below {data / 'emoji'}")
        (folder / "emoji" / name).mkdir()
        found = 0
        for record in records:
            images = given.get(record["id"], {})
            options = [source / Path(f).name for f in record["images"].values()]
            if name in images:
                options = [annotations.parent / images[name], source / Path(images[name]).name]
            record["images"].pop(name, None)
            file = next((o for o in options if o.is_file()), None)
            if file is not None:
                link = Path(name) / f"{record['id']}{file.suffix}"
                (folder / "emoji" / link).symlink_to(file.resolve())
                record["images"][name] = str(link)
                found += 1
        print(f"{name}: {found} drawings of {len(records)} annotated")
        if found < 40:
            raise SystemExit(f"--style {source}: too few of its files are in {annotations}")
    (folder / "emoji" / "annotations.json").write_text(json.dumps(records), encoding="utf-8")
    return folder, [Path(s).name for s in styles]


def clip_rows(data: Path, style: str, model: Any, processor: Any) -> tuple[int, int, int]:
    """Recognition and naming in one style; (named first, named among five, asked)."""
    from finetune.pocket.clip_text import name_ranks

    embed = embedder(model)
    groups = (*MAIN_GROUPS, "smileys & emotion")
    taught = tuple(s for s in WorldSettings().styles if s != style)
    held_out = load_held_out(data, style=style, groups=MAIN_GROUPS, taught=taught)
    row(f"20-way one-shot, taught in another style, {style}", *held_out.one_shot(embed))
    row(
        "  inked proxy: the same, redrawn flat with thick lines",
        *held_out.one_shot(embed, inked=True),
    )
    unseen = load_held_out(data, style=style, groups=UNSEEN_GROUPS, taught=taught)
    row("  things never trained on (symbols, people)", *unseen.one_shot(embed))
    styles = dict.fromkeys((*WorldSettings().styles, style))
    gallery = load_gallery(data, styles=list(styles), groups=groups, garments_per_class=2)
    ranks = name_ranks(model, processor.tokenizer, gallery, held_out)
    offered = sum(gallery.concepts[i].group in MAIN_GROUPS for i in gallery.of_kind("drawing"))
    first, five = int((ranks < 1).sum()), int((ranks < 5).sum())
    row(f"name among {offered}, top-1, {style}", first, len(ranks))
    row(f"name among {offered}, top-5, {style}", five, len(ranks))
    return first, five, len(ranks)


def other_rows(data: Path, model: Any) -> None:
    """Photos and letters never trained on, by the embedder."""
    embed = embedder(model)
    for name, (pictures, classes), ways in (
        ("20-way one-shot photos, classes never seen", photo_pictures(data), 20),
        ("5-way one-shot letters, alphabet never seen", character_pictures(data), 5),
    ):
        rows = embed(pictures).numpy()
        row(name, *episodes(rows, classes, rows, classes, ways=ways, count=2000))


def outside_rows(data: Path, styles: Sequence[str], sight: Sight) -> None:
    """Photos of classes never trained on, and drawings, told to be outside the pocket world."""
    files = [f for name in HELD_OUT_PHOTOS for f in sorted((data / "caltech101" / name).glob("*"))]
    told = sum(sight.outside(open_photo(f)) for f in files)
    row("photos (classes never seen) told to be outside its world", told, len(files))
    for style in styles:
        gallery = load_gallery(data, styles=(style,), groups=MAIN_GROUPS, garments_per_class=0)
        drawn = [c.sprites[0] for c in gallery.concepts if c.kind == "drawing" and c.sprites]
        pictures = (gallery.sprites[s].transpose(1, 2, 0) for s in drawn)
        wrong = sum(sight.outside(open_photo(Image.fromarray(p, "RGBA"))) for p in pictures)
        row(f"  drawings told so wrongly, {style}", wrong, len(drawn))


def said_things(text: str) -> list[str]:
    """The things a caption names: "two red apples and a cat on a blue background" -> 2 names."""
    text = re.sub(r" on an? \w+ background$", "", text)
    parts = re.split(r", | and | to the (?:left|right) of | above | below ", text)
    names = []
    for part in parts:
        part = _NUMBER.sub("", part.strip())
        first, _, rest = part.partition(" ")
        names.append(rest if first in COLOURS and rest else part)
    return [n for n in names if n and n not in (NAMELESS, NAMELESS_MANY.format("").strip())]


def _means(said: str, gallery: Gallery, concept: int) -> bool:
    from finetune.pocket.talk import plural

    c = gallery.concepts[concept]
    words = {c.spoken, c.name, *c.aliases, *c.tags}
    words |= {plural(w) for w in words}
    return said in words or any(w in said.split() for w in words)


def caption_rows(
    say: Callable[[Tensor], Sequence[str]], gallery: Gallery, scenes: Sequence[Scene], name: str
) -> None:
    """Things named, and named though absent, in what is said of pictures (N, 3, 64, 64)."""
    pictures = render_scenes(gallery, scenes, chance=chance_for(5), strength=0.0)
    things = named = said = absent = 0
    for text, scene in zip(say(pictures), scenes, strict=True):
        concepts = {t.concept for t in scene.things}
        names = said_things(text)
        things += len(concepts)
        named += sum(any(_means(n, gallery, c) for n in names) for c in concepts)
        said += len(names)
        absent += sum(not any(_means(n, gallery, c) for c in concepts) for n in names)
    row(f"{name}: things named (name or tag)", named, things)
    row(f"{name}: names of things not there", absent, said)


def sight_of(models: Path) -> Sight:
    """The product's own eyes, with these weights."""
    chosen = {"embedder": str(models / "clip"), "captioner": str(models / "blip")}
    return Sight(open_models(load_config(profile="pocket", **chosen)))


def product_captions(sight: Sight, pictures: Tensor) -> list[str]:
    """Captions as the product chooses them: the embedder judges what is proposed."""
    return [describe(sight, photo) for photo in photos_of(pictures)]


def photos_of(pictures: Tensor) -> list[Photo]:
    """Pictures (N, 3, 64, 64) in 0..1 as people send them."""
    rows = (pictures.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return [open_photo(Image.fromarray(row)) for row in rows]


def answer_rows(
    sight: Sight, name: str, model: Any, tokenizer: Any, pictures: Tensor, asked: list[list[Asked]]
) -> None:
    """Exact answers by kind of question: of the answerer alone, and of the product.

    The product looks at the things of a picture one by one where it can, and else asks the answerer
    the same question.
    """
    from finetune.pocket.answering import exact

    alone = exact(model, tokenizer, pictures, asked)
    photos = photos_of(pictures)
    looked = [
        look_closer(sight, photo, a.question)
        for photo, questions in zip(photos, asked, strict=True)
        for a in questions
    ]
    rows = [
        (question.kind, right, right if text is None else text == question.answer)
        for (question, right), text in zip(alone, looked, strict=True)
    ]
    for kind in sorted({kind for kind, *_ in rows}):
        mine = [r for r in rows if r[0] == kind]
        title = name if len(mine) == len(rows) else f"{name}: {kind}"
        row(f"{title}, the answerer alone", sum(r[1] for r in mine), len(mine))
        row(f"{title}, of the product", sum(r[2] for r in mine), len(mine))


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
    parser.add_argument("--style", action="append", help="a style's name or a folder of drawings")
    parser.add_argument("--annotations", type=Path, help="which of the folders' files shows what")
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

    from finetune.pocket.blip import caption_pictures

    def load(kind: Any, name: str) -> Any:
        loaded = kind.from_pretrained(args.models / name, local_files_only=True)
        return loaded.eval() if hasattr(loaded, "eval") else loaded

    clip, clip_processor = load(CLIPModel, "clip"), load(CLIPProcessor, "clip")
    blip, blip_processor = load(BlipForConditionalGeneration, "blip"), load(BlipProcessor, "blip")
    llava = load(LlavaForConditionalGeneration, "llava")
    llava_processor = load(LlavaProcessor, "llava")
    llava.set_attn_implementation("eager")
    print(f"| {'measured':<58} | result  |     n | 95 % interval |\n|{'-' * 60}|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        data, styles = with_styles(
            args.data, args.style or ["fluent_3d"], args.annotations, Path(folder)
        )
        named = []
        for style in styles:
            named.append(clip_rows(data, style, clip, clip_processor))
        if len(styles) > 1:
            shares = np.array([(first / n, five / n) for first, five, n in named]).mean(0)
            total = sum(n for *_, n in named)
            row("name, top-1, mean of the styles", shares[0] * total, total)
            row("name, top-5, mean of the styles", shares[1] * total, total)
        other_rows(data, clip)
        sight = sight_of(args.models)
        outside_rows(data, styles, sight)
        for style in styles:
            world = WorldSettings(held_out_style=style)
            for share, count, what in ((1.0, 600, "one thing"), (0.0, 300, "two to four things")):
                scenes = held_out_scenes(data, world, count, single=share)
                for who, say in (
                    ("caption", partial(caption_pictures, blip, blip_processor.tokenizer)),
                    ("caption of the product", partial(product_captions, sight)),
                ):
                    caption_rows(say, *scenes, f"{who}, {what}, {style}")
        answerer = (llava, llava_processor.tokenizer)
        answer_rows(sight, "easy_vqa", *answerer, *EasyVqa(data / "easy_vqa").held_out())
        for style in styles:
            scenes = held_out_questions(data, WorldSettings(held_out_style=style), 800)
            answer_rows(sight, f"scenes in {style}", *answerer, *scenes)
        if args.sheet:
            draw_sheet(args.sheet, data, styles, blip, blip_processor.tokenizer)
    latency_rows(clip, clip_processor, blip, blip_processor, llava, llava_processor)


def latency_rows(
    clip: Any, clip_processor: Any, blip: Any, blip_processor: Any, llava: Any, llava_processor: Any
) -> None:
    """One picture through each model, in float32."""
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


def draw_sheet(path: Path, data: Path, styles: Sequence[str], model: Any, tokenizer: Any) -> None:
    """Scenes of every style with their captions, to be looked at."""
    from finetune.pocket.blip import caption_pictures

    shown = []
    for style in styles:
        gallery, scenes = held_out_scenes(data, WorldSettings(held_out_style=style), 64)
        shown.append(render_scenes(gallery, scenes, chance=chance_for(5), strength=0.0))
    pictures = torch.cat(shown)
    sheet(path, pictures, caption_pictures(model, tokenizer, pictures))


__all__ = ["main", "said_things", "with_styles"]

if __name__ == "__main__":
    main()
