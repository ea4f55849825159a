"""The recipe trains, goes on where it was stopped, and supervises the right tokens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from tokenizers import Tokenizer

from finetune.pocket import training
from finetune.pocket.answering import answer_logits, exact, picture_tokens
from finetune.pocket.blip import BlipSettings, caption_batch, train_blip
from finetune.pocket.clip import (
    Batches,
    VisionSettings,
    make_tower,
    pair_loss,
    train_vision,
    vision_loss,
)
from finetune.pocket.convert import convert_tower
from finetune.pocket.drawings import Gallery
from finetune.pocket.evaluate import episodes, interval
from finetune.pocket.llava import LlavaSettings, make_llava, train_llava
from finetune.pocket.llava_names import NamesSettings, naming_questions, teach_names
from finetune.pocket.llava_unlock import LlavaUnlockSettings, train_llava_unlocked
from finetune.pocket.pool import Pool, contrast
from finetune.pocket.prompt import PATCHES, pack
from finetune.pocket.recipe import Recipe, SettingsError
from finetune.pocket.talk import Asked
from finetune.pocket.teacher import Targets, ask_teacher, read_targets
from finetune.pocket.text import CHAT_TEMPLATE, dressed, train_tokenizer
from finetune.pocket.tower import embed_kept
from finetune.pocket.training import Clock, Learnt, MasterAdamW, Stage, rate
from tests.pocket_parts import TINY, gallery, make_drawings, one_thread, targets

__all__ = ["gallery", "one_thread", "targets"]

SHIPPED = Path(__file__).parents[1] / "tools" / "models" / "pocket"


@pytest.fixture(scope="module")
def tokenizer(gallery: Gallery) -> Tokenizer:
    return train_tokenizer(gallery, size=700)


class _Interrupts:
    """Stands where the held-out set stands and stops the training, as Ctrl-C would."""

    def one_shot(self, *_: object, **__: object) -> tuple[int, int]:
        raise KeyboardInterrupt


def test_resuming_gives_the_state_of_an_uninterrupted_run(
    gallery: Gallery, targets: Targets, tmp_path: Path
) -> None:
    whole, directions, done = train_vision(gallery, targets, tmp_path / "whole", TINY)
    assert done
    with pytest.raises(KeyboardInterrupt):
        train_vision(
            gallery, targets, tmp_path / "parts", TINY,
            held_out=_Interrupts(),  # type: ignore[arg-type]
        )  # fmt: skip
    state = torch.load(tmp_path / "parts" / "vision.pt", weights_only=True)
    assert state["step"] == 3
    resumed, again, done = train_vision(gallery, targets, tmp_path / "parts", TINY)
    assert done
    torch.testing.assert_close(again, directions)
    for (name, one), two in zip(
        whole.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two), name


@pytest.mark.parametrize(("seconds", "kept"), [(0.0, 2), (60.0, 0)])
def test_a_killed_run_loses_what_the_last_writing_did_not_see(
    seconds: float, kept: int, tmp_path: Path
) -> None:
    weight = torch.nn.Parameter(torch.ones(2))

    def stage() -> Stage:
        optimiser = MasterAdamW([([weight], 1.0)], lr=0.1)
        return Stage(tmp_path / "s.pt", "s", optimiser, 9, warmup=1, save_seconds=seconds)

    def learn(step: int) -> Learnt:
        if step == 2:
            raise KeyboardInterrupt
        return weight.sum(), 1, {}

    with pytest.raises(KeyboardInterrupt):
        stage().train(learn, every=100)
    saved = tmp_path / "s.pt"
    assert (torch.load(saved, weights_only=True)["step"] if saved.exists() else 0) == kept
    steps: list[int] = []
    stage().train(lambda step: (steps.append(step), learn(9))[1], every=100)
    assert steps[0] == kept


def test_what_the_teacher_said_is_kept_in_parts_and_read_in_the_order_of_the_sprites(
    gallery: Gallery, tmp_path: Path
) -> None:
    shown = [i for i, c in enumerate(gallery.concept_of) if gallery.concepts[c].kind == "drawing"]
    rng = np.random.default_rng(3)
    said = rng.normal(size=(len(shown), 2, 16)).astype(np.float16)
    photos = rng.integers(0, 256, (64, 3, 64, 64), dtype=np.uint8)
    features = rng.normal(size=(64, 16)).astype(np.float16)
    for part in range(64):
        np.savez(
            tmp_path / f"part-{part:02d}.npz", ids=np.arange(part, len(shown), 64),
            drawings=said[part::64], photos=photos[part::64], photo_features=features[part::64],
        )  # fmt: skip
    found = read_targets(gallery, tmp_path, width=16)
    assert np.array_equal(found.photos, photos)
    rows = said.astype(np.float32) - found.mean
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    wanted = rows.mean(1) / np.linalg.norm(rows.mean(1), axis=-1, keepdims=True)
    got = found.drawings[shown]
    assert np.allclose(got @ got.T, wanted @ wanted.T, atol=1e-3), "a rotation keeps the cosines"
    folders = (tmp_path, tmp_path / "no teacher", tmp_path)
    assert ask_teacher(gallery, *folders, clock=Clock(-1)), "nothing is left to ask"
    (tmp_path / "part-07.npz").unlink()
    assert not ask_teacher(gallery, *folders, clock=Clock(-1)), "and now there is"


def test_the_minutes_are_those_of_the_whole_command(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from finetune.cli import app

    data, run = make_drawings(tmp_path / "data"), tmp_path / "run"
    arguments = ["pocket", "all", "--minutes", "0", "--data", str(data), "--run", str(run)]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0 and "clip: stopped before its last step" in done.output
    assert not (tmp_path / "out").exists()


def test_statistics_are_measured_once_for_the_same_weights(tmp_path: Path) -> None:
    from tools.errors import ImprintError

    state, made = tmp_path / "run" / "clip" / "unlock.pt", tmp_path / "out" / "clip"
    for file in (state, made / "background.npz"):
        file.parent.mkdir(parents=True)
        file.touch()
    recipe = Recipe.open(
        data=tmp_path, run=tmp_path / "run", out=tmp_path / "out", teacher=tmp_path
    )
    os.utime(state, (1, 1))
    assert recipe.train("background")
    os.utime(made / "background.npz", (0, 0))  # the weights are newer
    with pytest.raises(ImprintError):
        recipe.train("background")


def test_a_tiny_training_lowers_the_loss(
    gallery: Gallery, targets: Targets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = VisionSettings(**{**TINY.__dict__, "steps": 60, "evaluate_every": 100})
    train_vision(gallery, targets, tmp_path, settings)
    lines = [line for line in capsys.readouterr().out.splitlines() if " loss " in line]
    first, last = (float(line.split(" loss ")[1].split()[0]) for line in (lines[0], lines[-1]))
    assert last < 0.85 * first


def test_all_patches_kept_is_the_whole_forward_and_fewer_are_the_ones_with_contrast() -> None:
    tower = make_tower(TINY).float().eval()
    pixels = torch.zeros(3, 3, 64, 64)
    pixels[:, :, 16:40, 16:40] = torch.randn(3, 3, 24, 24)  # nine patches with something in them
    with torch.no_grad():
        whole = tower(pixel_values=pixels).image_embeds
        torch.testing.assert_close(embed_kept(tower, pixels, 64), whole)
        torch.testing.assert_close(embed_kept(tower, pixels, 10**6), whole)
        few = embed_kept(tower, pixels, 9)
        assert not torch.allclose(few, whole)
        pixels[:, :, 48:, 48:] = 0.2  # flat, so never among the nine
        torch.testing.assert_close(embed_kept(tower, pixels, 9), few)


def test_the_pair_loss_wants_the_other_one_of_each_pair() -> None:
    scale = 20.0
    rows = torch.eye(4)
    matched = rows.repeat_interleave(2, 0)  # 0 0 1 1 2 2 3 3
    crossed = rows[[0, 1, 1, 2, 2, 3, 3, 0]]
    assert float(pair_loss(matched, scale)) < 1e-3
    assert float(pair_loss(crossed, scale)) > 10
    assert float(pair_loss(rows[:0], scale)) == 0


def test_a_batch_shows_every_paired_thing_twice(gallery: Gallery, targets: Targets) -> None:
    batch = Batches(gallery, targets, TINY).draw(3)
    drawn, paired = batch.pairs
    assert (drawn, paired) == (12, 16) and len(batch.pictures) == 20
    assert torch.equal(batch.labels[0:drawn:2], batch.labels[1:drawn:2])
    assert (batch.labels[:drawn] >= 0).all()
    assert (batch.labels[drawn:] == -1).all(), "turned characters and photos have no name"
    assert batch.known[:drawn].all() and not batch.known[drawn:paired].any()


def test_a_photo_is_told_apart_from_the_other_photos_of_its_batch(
    gallery: Gallery, targets: Targets
) -> None:
    batch = Batches(gallery, targets, TINY).draw(3)
    assert batch.photos == 16 and len(batch.targets) - batch.photos == TINY.photos
    directions, scale = torch.eye(16), torch.tensor(2.0)
    right, mixed = batch.targets.clone(), batch.targets.clone()
    mixed[batch.photos :] = batch.targets[batch.photos :].roll(1, 0)
    _, near = vision_loss(right, batch, directions, scale, TINY)
    _, far = vision_loss(mixed, batch, directions, scale, TINY)
    assert float(near["photos"]) + 1 < float(far["photos"])
    for other in ("naming", "things", "letters"):
        torch.testing.assert_close(near[other], far[other])


def test_no_time_means_no_step_and_not_finished(
    gallery: Gallery, targets: Targets, tmp_path: Path
) -> None:
    *_, done = train_vision(gallery, targets, tmp_path, TINY, clock=Clock(-1))
    assert not done


def test_captions_supervise_caption_tokens_only(tokenizer: Tokenizer) -> None:
    own = dressed(tokenizer, "blip", 40)
    ids, mask, labels = caption_batch(own, ["a red apple", "two apples and a blue box"])
    assert labels[0, 0] == -100 and ids[0, 0] == own.bos_token_id
    for row in range(2):
        kept = labels[row] != -100
        text = own.decode(ids[row][kept], skip_special_tokens=False)
        assert text in ("a red apple</s>", "two apples and a blue box</s>")
    assert (labels[mask == 0] == -100).all()


def test_answers_alone_are_supervised_and_questions_do_not_see_each_other(
    tokenizer: Tokenizer,
) -> None:
    own = dressed(tokenizer, "llava", 256)
    asked = [Asked("what is this?", "apple", "what"), Asked("how many boxes are there?", "2", "c")]
    packed = pack(own, [asked, asked[:1]])
    supervised = packed.labels[0][packed.labels[0] != -100]
    assert own.decode(supervised) == "apple</s> 2</s>"
    # The first question ends at the first supervised `</s>`; the second begins behind it.
    ids = packed.ids[0].tolist()
    second = ids.index(own.eos_token_id) + 1
    prefix = ids.index(4) + PATCHES
    assert own.decode(ids[second : second + 3]) == "how many boxes"
    assert int(packed.positions[0, second]) == prefix == int(packed.positions[0, prefix])
    assert not packed.mask[0, 0, second:, prefix:second].any()
    assert packed.mask[0, 0, second:, :prefix].all()
    assert not packed.mask[0, 0, : second - 1, second:].any()


def test_some_tokens_keep_the_places_they_had(tokenizer: Tokenizer) -> None:
    own = dressed(tokenizer, "llava", 256)
    asked = [[Asked("what is this?", "apple", "what")]] * 2
    places = torch.tensor([[0, 3, 64], [0, 10, 11]])
    few, whole = pack(own, asked, places=places), pack(own, asked)
    start = whole.ids[0].tolist().index(4)
    assert torch.equal(few.positions[:, start : start + 3], start + places)
    assert torch.equal(few.positions[:, start + 3 :], whole.positions[:, start + PATCHES :])
    assert torch.equal(few.ids[:, start + 3 :], whole.ids[:, start + PATCHES :])


def test_a_pool_shows_the_patches_with_contrast() -> None:
    pictures = torch.full((2, 3, 64, 64), 0.5)
    pictures[0, :, 8:16, 16:24] = torch.tensor([0.0, 1.0]).repeat(4)[None, None]  # patch 10
    pool = Pool(torch.arange(130.0).reshape(2, 65, 1), contrast(pictures), [])
    rng = np.random.default_rng(0)
    tokens, places = pool.read(np.array([0, 0, 1]), 5, rng)
    assert tokens.shape == (3, 6, 1) and (places[:, 0] == 0).all()
    assert (places.diff(dim=1) > 0).all()
    assert (places[:2] == 11).any(1).all(), "the only patch that varies is always shown"
    assert torch.equal(tokens[..., 0], places + 65.0 * torch.tensor([[0], [0], [1]]))
    tokens, places = pool.read(np.array([1]), 64, rng)
    assert torch.equal(tokens[0], pool.tokens[1]) and places.tolist() == [list(range(65))]


def test_packed_questions_are_answered_as_the_model_answers_one(tokenizer: Tokenizer) -> None:
    own = dressed(tokenizer, "llava", 256)
    settings = LlavaSettings(layers=1, width=64, heads=1)
    model = make_llava(make_tower(TINY), own, settings).float().eval()
    picture = torch.rand(1, 3, 64, 64)
    question = "is there a leaf?"
    prompt = f"USER: {'<image>' * PATCHES}\n{question} ASSISTANT:"
    ids = own(prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        alone = model(input_ids=ids, pixel_values=(picture - 0.5) / 0.25).logits[0, -1]
        before = Asked("what is this?", "box", "what")
        packed = pack(own, [[before, Asked(question, "no", "exists")]])
        logits = answer_logits(model, packed, picture_tokens(model, picture))
    supervised = (packed.labels[0, -logits.shape[1] :] != -100).nonzero()[:, 0]
    first_of_second = int(supervised[-2])
    torch.testing.assert_close(logits[0, first_of_second], alone, atol=1e-4, rtol=1e-4)
    greedy = own.decode([int(alone.argmax())])
    if len(own(greedy, add_special_tokens=False)["input_ids"]) == 1:
        asked = [[before, Asked(question, f"{greedy} leaf", "exists")]]
        assert not exact(model, own, picture, asked)[1][1] or greedy == "leaf"


def test_the_chat_template_writes_llavas_prompt(tokenizer: Tokenizer) -> None:
    own = dressed(tokenizer, "llava", 256)
    own.chat_template = CHAT_TEMPLATE
    chat = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}
    ]
    text = own.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    assert text == "USER: <image>\nWhat is this? ASSISTANT:"


def test_blip_and_llava_learn(
    gallery: Gallery, tokenizer: Tokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tower = make_tower(TINY)
    photos = torch.zeros(0, 3, 64, 64, dtype=torch.uint8)
    concepts = gallery.of_kind("drawing")
    small = {"layers": 1, "width": 64, "heads": 1, "lr": 4e-3}
    before = {n: p.clone() for n, p in tower.named_parameters()}
    _, done = train_blip(
        tower, gallery, photos, tokenizer, concepts, tmp_path,
        BlipSettings(tower_steps=20, tower_batch=8, steps=100, batch=16, pools=2, views=48,
                     kept=20, **small),  # type: ignore[arg-type]
    )  # fmt: skip
    assert done
    settings = LlavaSettings(
        steps=100, batch=12, pools=2, views=48, kept=20, **small  # type: ignore[arg-type]
    )  # fmt: skip
    own = dressed(tokenizer, "llava", 256)
    model = make_llava(tower, own, settings)
    names = NamesSettings(steps=100, views=2, batch=16, lr=4e-3)
    teach_names(model, own, gallery, photos, concepts, tmp_path, names)
    again = make_llava(tower, own, settings)
    teach_names(again, own, gallery, photos, concepts, tmp_path, names)
    assert torch.equal(again.lm_head.weight, model.lm_head.weight), "names are read back"
    done = train_llava(model, own, gallery, photos, concepts, tmp_path, settings)
    assert done
    out = capsys.readouterr().out.splitlines()
    for name in ("blip", "llava names", "llava"):
        losses = [float(x.split(" loss ")[1].split()[0]) for x in out if x.startswith(f"{name} ")
                  and x.removeprefix(f"{name} ")[0].isdigit()]  # fmt: skip
        assert len(losses) > 1 and losses[-1] < 0.75 * losses[0], (name, losses)
    learnt = dict(model.model.vision_tower.named_parameters())
    assert learnt and all(
        torch.equal(p, before[n if n in before else f"vision_model.{n}"]) for n, p in learnt.items()
    ), "the answerer's tower is the CLIP tower"
    kept = {n: p.clone() for n, p in model.named_parameters()}
    late = LlavaUnlockSettings(steps=4, batch=6, lr=4e-3)
    assert train_llava_unlocked(model, own, gallery, photos, concepts, tmp_path, late)
    for part in ("vision_tower", "multi_modal_projector", "language_model"):
        mine = [n for n in kept if part in n]
        assert any(not torch.equal(p, kept[n]) for n, p in model.named_parameters() if n in mine)
    assert torch.load(tmp_path / "unlocked.pt", weights_only=True)["step"] == 4
    for n, p in tower.named_parameters():
        assert torch.equal(p, before[n]), f"{n}: the CLIP tower itself must not move"


def test_naming_questions_are_true(gallery: Gallery) -> None:
    concepts = gallery.of_kind("drawing")
    rng = np.random.default_rng(0)
    answers = []
    for _ in range(200):
        what, *rest = naming_questions(gallery, concepts[0], concepts, rng)
        assert what.answer == "apple"
        for row in rest:
            assert (row.answer == "yes") == ("apple" in row.question), row
            answers.append(row.answer)
    assert 0.3 < answers.count("no") / len(answers) < 0.5  # a third of the others is itself


def test_the_converted_tower_says_nearly_what_clip_says() -> None:
    from finetune.pocket.blip import make_blip

    tower = make_tower(VisionSettings(layers=2, width=64, heads=1, projection=16))
    with torch.no_grad():
        for p in tower.vision_model.pre_layrnorm.parameters():
            p.add_(0.1 * torch.randn(p.shape))
    model = make_blip(tower, 100, BlipSettings(layers=1, width=64, heads=1)).float()
    convert_tower(tower, model.vision_model)
    tower = tower.float()
    pictures = (torch.nn.functional.avg_pool2d(torch.rand(8, 3, 64, 64), 9, 1, 4) - 0.5) / 0.25
    with torch.no_grad():
        hidden = tower.vision_model(pixel_values=pictures).last_hidden_state
        wanted = tower.vision_model.post_layernorm(hidden)
        got = model.vision_model(pixel_values=pictures).last_hidden_state
    assert torch.nn.functional.cosine_similarity(wanted, got, dim=-1).mean() > 0.9


def test_the_optimiser_keeps_small_steps_that_bfloat16_would_lose() -> None:
    weight = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimiser = MasterAdamW([([weight], 1.0)], lr=1e-4, decay=0.0)
    for _ in range(60):
        weight.grad = torch.ones_like(weight)
        optimiser.step(1.0)
    assert float(weight[0].detach()) == pytest.approx(1 - 60 * 1e-4, abs=4e-3)
    assert float(weight[0].detach()) < 1


def test_rate_warms_up_and_falls_to_its_floor() -> None:
    shares = [rate(s, 1000, warmup=100, floor=0.04) for s in range(1000)]
    assert max(shares) == pytest.approx(1.0) and shares.index(max(shares)) in (99, 100)
    assert shares[-1] == pytest.approx(0.04, abs=1e-3)


def test_episodes_and_intervals() -> None:
    rows = np.eye(6, dtype=np.float32)
    labels = np.arange(6)
    assert episodes(rows, labels, rows.copy(), labels, ways=5, count=50) == (50, 50)
    low, high = interval(50, 100)
    assert low == pytest.approx(0.404, abs=1e-3) and high == pytest.approx(0.596, abs=1e-3)


def test_settings_with_unknown_keys_are_refused_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("clip:\n  vision:\n    stepz: 3\nblip:\n  bach: 1\nfoo: {}\n", "utf-8")
    with pytest.raises(SettingsError) as problem:
        Recipe.open(data=tmp_path, run=tmp_path, out=tmp_path, teacher=tmp_path, settings=path)
    for key in ("clip.vision.stepz", "blip.bach", "foo"):
        assert key in str(problem.value)
    shipped = Recipe.open(data=tmp_path, run=tmp_path, out=tmp_path, teacher=tmp_path)
    assert "fluent_3d" not in shipped.world.styles
    quick = Path(training.__file__).parent / "quick.yaml"
    fast = Recipe.open(data=tmp_path, run=tmp_path, out=tmp_path, teacher=tmp_path, settings=quick)
    assert fast.vision.steps < shipped.vision.steps / 10


def test_help_imports_no_torch() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom finetune.cli import app\n"
        "r = CliRunner().invoke(app, ['pocket', '--help'])\n"
        "assert r.exit_code == 0, r.output\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def _red_circle() -> Image.Image:
    picture = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(picture).ellipse((20, 20, 108, 108), fill=(214, 40, 40))
    return picture


def test_shipped_clip_names_a_shape() -> None:
    from transformers import CLIPModel, CLIPProcessor

    model = CLIPModel.from_pretrained(SHIPPED / "clip", local_files_only=True).float().eval()
    processor = CLIPProcessor.from_pretrained(SHIPPED / "clip", local_files_only=True)
    names = ["a circle", "a dog", "a guitar", "a house"]
    batch = processor(text=names, images=_red_circle(), padding=True, return_tensors="pt")
    with torch.no_grad():
        assert int(model(**batch).logits_per_image.argmax()) == 0
        assert float(model.logit_scale.exp()) <= 100


def test_shipped_blip_captions_a_shape() -> None:
    from transformers import BlipForConditionalGeneration, BlipProcessor

    folder = SHIPPED / "blip"
    model = BlipForConditionalGeneration.from_pretrained(folder, local_files_only=True).eval()
    processor = BlipProcessor.from_pretrained(folder, local_files_only=True)
    batch = processor(images=_red_circle(), return_tensors="pt").to(model.dtype)
    said = processor.decode(model.generate(**batch, max_new_tokens=16)[0], skip_special_tokens=True)
    assert "circle" in said and said == said.strip()


def test_shipped_llava_answers_about_a_shape() -> None:
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

    folder = SHIPPED / "llava"
    model = LlavaForConditionalGeneration.from_pretrained(folder, local_files_only=True).eval()
    processor = LlavaProcessor.from_pretrained(folder, local_files_only=True)

    def ask(question: str) -> str:
        content = [{"type": "image", "image": _red_circle()}, {"type": "text", "text": question}]
        batch = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True,
            return_dict=True, return_tensors="pt",
        ).to(model.dtype)  # fmt: skip
        made = model.generate(**batch, max_new_tokens=8)
        text = processor.decode(made[0, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        return str(text)

    assert ask("What color is this?") == "red"
    assert ask("Is there a circle?") == "yes"


def test_shipped_weights_are_small_and_safe() -> None:
    files = [p for p in SHIPPED.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= 40 * 2**20
    assert not [p for p in files if p.suffix in (".bin", ".pt", ".pkl")]
