"""Questions of one picture packed behind its prefix, each blind to the others.

The ids are exactly those of LLaVA's prompt `USER: <image>\\nquestion ASSISTANT: answer</s>`; the
block mask and the repeated positions make every question look as if it were the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from finetune.pocket.talk import Asked

__all__ = ["PATCHES", "Packed", "pack"]

PATCHES = 65
"""Picture tokens: 8 x 8 patches and the class token."""


@dataclass(frozen=True)
class Packed:
    """Questions of N pictures as one batch.

    `ids` (N, L); `labels` (N, L), -100 but on answers and their `</s>`; `positions` (N, L);
    `mask` bool (N, 1, L, L), True where a row may look.
    """

    ids: Tensor
    labels: Tensor
    positions: Tensor
    mask: Tensor


def pack(
    tokenizer: PreTrainedTokenizerFast,
    asked: Sequence[Sequence[Asked]],
    *,
    places: Tensor | None = None,
) -> Packed:
    """Questions per picture -> token ids in LLaVA's prompt format, with mask and labels.

    `places` (N, K) in 0..PATCHES-1, ascending: which of its picture's tokens each row holds, all of
    them if not given; positions stay those of a prompt with all of them.
    """
    shown = PATCHES if places is None else places.shape[1]
    image = tokenizer.convert_tokens_to_ids("<image>")
    end = tokenizer.eos_token_id
    opening = tokenizer("USER: <image>", add_special_tokens=True)["input_ids"]
    place = opening.index(image)
    prefix = opening[:place] + [image] * shown
    behind = place + PATCHES
    flat = [row for rows in asked for row in rows]
    prompts = tokenizer([f"{r.question} ASSISTANT:" for r in flat], add_special_tokens=False)
    answers = tokenizer([r.answer for r in flat], add_special_tokens=False)
    pieces = iter(zip(prompts["input_ids"], answers["input_ids"], strict=True))
    rows: list[tuple[list[int], list[int], list[int], list[int]]] = []
    for questions_of_one in asked:
        ids, labels = list(prefix), [-100] * len(prefix)
        where, block = list(range(len(prefix))), [0] * len(prefix)
        for number in range(1, len(questions_of_one) + 1):
            prompt, answer = next(pieces)
            ids += [*prompt, *answer, end]
            labels += [-100] * len(prompt) + [*answer, end]
            length = len(prompt) + len(answer) + 1
            where += range(behind, behind + length)
            block += [number] * length
        rows.append((ids, labels, where, block))
    longest = max(len(r[0]) for r in rows)

    def padded(column: int, fill: int) -> Tensor:
        return torch.tensor([r[column] + [fill] * (longest - len(r[column])) for r in rows])

    positions = padded(2, 0)
    if places is not None:
        positions[:, place : place + shown] = place + places
    block_of = padded(3, -1)
    causal = torch.ones(longest, longest, dtype=torch.bool).tril()
    same = block_of[:, :, None] == block_of[:, None, :]
    mask = causal & (same | (block_of[:, None, :] == 0))
    return Packed(
        padded(0, int(tokenizer.pad_token_id)), padded(1, -100), positions, mask[:, None]
    )  # fmt: skip
