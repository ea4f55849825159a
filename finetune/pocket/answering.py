"""The answerer as a function: picture tokens and packed questions in, losses and answers out.

Several questions of one picture share its prefix: each sees the picture and itself only (a block
mask with repeated positions), which is what it meets when asked alone. Only answer tokens are
supervised. Knows nothing about stages, settings or how questions are made (`talk`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from finetune.pocket.prompt import Packed, pack
from finetune.pocket.talk import Asked
from finetune.pocket.tower import normalise

__all__ = ["answer_logits", "answer_loss", "by_kind", "exact", "picture_tokens", "split_tower"]


def split_tower(
    model: LlavaForConditionalGeneration,
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The weights of the vision tower, and all others."""
    tower = list(model.model.vision_tower.parameters())
    mine = {id(p) for p in tower}
    return tower, [p for p in model.parameters() if id(p) not in mine]


def picture_tokens(
    model: LlavaForConditionalGeneration, pictures: Tensor, *, learn: bool = False
) -> Tensor:
    """What the projector takes, (N, PATCHES, 2 x width), of pictures (N, 3, 64, 64) in 0..1.

    `learn`: whether gradients reach the vision tower.
    """
    with torch.set_grad_enabled(learn and torch.is_grad_enabled()):
        pixels = normalise(pictures)
        out = model.model.vision_tower(pixel_values=pixels, output_hidden_states=True)
        layers = list(model.config.vision_feature_layer)  # type: ignore[arg-type]
        return torch.cat([out.hidden_states[layer] for layer in layers], dim=-1)


def _states(model: LlavaForConditionalGeneration, packed: Packed, tokens: Tensor) -> Tensor:
    """Last states (N, rest of L, width): each says what follows, from the first word on."""
    start, end = _picture_at(model, packed)
    image = model.model.multi_modal_projector(tokens)
    embedded = model.get_input_embeddings()(packed.ids)
    embedded = torch.cat([embedded[:, :start], image, embedded[:, end:]], 1)
    lowest = torch.finfo(embedded.dtype).min
    mask = torch.zeros(packed.mask.shape, dtype=embedded.dtype).masked_fill(~packed.mask, lowest)
    out = model.model.language_model(
        inputs_embeds=embedded, attention_mask=mask, position_ids=packed.positions, use_cache=False
    )
    states: Tensor = out.last_hidden_state[:, end - 1 : -1]
    return states


def answer_logits(model: LlavaForConditionalGeneration, packed: Packed, tokens: Tensor) -> Tensor:
    """Logits float32 (N, rest of L, V) for every token after the picture's `tokens`."""
    logits: Tensor = model.lm_head(_states(model, packed, tokens))
    return logits.float()


def _picture_at(model: LlavaForConditionalGeneration, packed: Packed) -> tuple[int, int]:
    places = (packed.ids[0] == model.config.image_token_id).nonzero()[:, 0]
    return int(places[0]), int(places[-1]) + 1


def answer_loss(model: LlavaForConditionalGeneration, packed: Packed, tokens: Tensor) -> Tensor:
    """Mean cross-entropy of the answers' tokens."""
    states = _states(model, packed, tokens)
    wanted = packed.labels[:, -states.shape[1] :]
    # Few tokens are supervised, and the vocabulary is the widest layer: score only those.
    rows = wanted != -100
    return F.cross_entropy(model.lm_head(states[rows]).float(), wanted[rows])


@torch.no_grad()
def exact(
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    pictures: Tensor,
    asked: list[list[Asked]],
) -> list[tuple[Asked, bool]]:
    """Whether each question's greedy answer is exactly right.

    A greedy answer equals the true one if and only if every true token, given those before it, is
    the likeliest: one forward pass answers all questions.
    """
    rows: list[tuple[Asked, bool]] = []
    for i in range(0, len(pictures), 64):
        part = asked[i : i + 64]
        packed = pack(tokenizer, part)
        logits = answer_logits(model, packed, picture_tokens(model, pictures[i : i + 64]))
        targets = packed.labels[:, -logits.shape[1] :]
        wrong = (logits.argmax(-1) != targets) & (targets != -100)
        block = (packed.labels == tokenizer.eos_token_id)[:, -targets.shape[1] :].cumsum(1)
        ended = block - (targets == tokenizer.eos_token_id).long()
        for r, questions_of_one in enumerate(part):
            for number, row in enumerate(questions_of_one):
                rows.append((row, not bool((wrong[r] & (ended[r] == number)).any())))
    return rows


def by_kind(results: list[tuple[Asked, bool]]) -> dict[str, float]:
    """Share right per kind of question."""
    kinds: dict[str, list[bool]] = {}
    for row, right in results:
        kinds.setdefault(row.kind, []).append(right)
    return {k: sum(v) / len(v) for k, v in sorted(kinds.items())}
