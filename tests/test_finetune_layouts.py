"""Models whose prompts tell the kinds of their tokens are trained on them too."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from finetune.data import Row
from finetune.methods import adapt
from finetune.prompts import Prompts
from finetune.settings.files import load_settings, with_assignments
from finetune.settings.schema import PromptSettings
from finetune.training.collate import Collator, RowDataset
from finetune.vlm import IGNORED, open_vlm
from tests.finetune_data import picture
from tests.tiny_models import built
from tools.images import open_photo


def rows(folder: Path) -> list[Row]:
    found = []
    for kind in ("disc", "rectangle"):
        path = folder / f"{kind}.png"
        picture("disc" if kind == "disc" else "box", 0).save(path)
        found.append(Row(path, kind, photo_id=open_photo(path).id))
    return found


# https://github.com/huggingface/transformers: its processor makes an array of a tensor.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_paligemma_learns_an_answer_behind_its_own_prompt(tmp_path: Path) -> None:
    settings = load_settings(
        with_assignments({}, {"model.answerer": str(built("paligemma")), "lora.rank": 4})
    )
    vlm = open_vlm(settings)
    prompts = Prompts(settings.prompt, ["disc", "rectangle"])
    data = RowDataset(rows(tmp_path))
    batch = Collator(vlm, prompts)([data[0], data[1]])
    for ids, labels, kinds, mask in zip(
        batch["input_ids"],
        batch["labels"],
        batch["token_type_ids"],
        batch["attention_mask"],
        strict=True,
    ):
        learned = labels != IGNORED
        # PaliGemma reads picture and question at once, and its answer word by word.
        assert torch.equal(kinds == 1, learned)
        assert torch.equal(ids[learned], labels[learned]) and bool(mask[learned].all())
        asked = vlm.tokenizer.decode(ids[~learned & (mask == 1)])
        assert asked.endswith("answer en what is this?\n")
    said = [vlm.tokenizer.decode(row[row != IGNORED]) for row in batch["labels"]]
    assert said == ["disc<eos>", "rectangle<eos>"]
    adapted = adapt(vlm, settings)
    adapted.model.train()
    optimizer = torch.optim.AdamW([p for _, p in adapted.trained()], lr=0.02)
    losses = []
    for _ in range(12):
        loss = adapted.model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_the_kinds_of_qwens_tokens_go_on_as_text(tmp_path: Path) -> None:
    """Its processor needs torchvision, so what it gives is written down here."""
    asked: dict[str, Any] = {
        "input_ids": torch.tensor([[5, 9, 9, 6]]),
        "attention_mask": torch.ones(1, 4, dtype=torch.long),
        "mm_token_type_ids": torch.tensor([[0, 1, 1, 0]]),
        "pixel_values": torch.zeros(8, 12),
        "image_grid_thw": torch.tensor([[1, 2, 4]]),
    }
    vlm: Any = SimpleNamespace(
        prompt=lambda image, question: asked,
        answer_ids=lambda answer: [7] * (len(answer) // 2),
        answerer=SimpleNamespace(plain=str.strip),
        longest=64,
        image_token=9,
        pad=0,
    )
    data = RowDataset(rows(tmp_path))
    prompts = Prompts(PromptSettings(), ["disc", "rectangle"])
    batch = Collator(vlm, prompts)([data[0], data[1]])
    assert batch["mm_token_type_ids"].tolist() == [[0, 1, 1, 0, 0, 0, 0, 0]] * 2
    assert batch["input_ids"].tolist() == [[5, 9, 9, 6, 7, 7, 0, 0], [5, 9, 9, 6, 7, 7, 7, 7]]
    assert batch["pixel_values"].shape == (16, 12) and batch["image_grid_thw"].shape == (2, 3)
