"""The head that finds things: each patch of a vision tower says what it is part of, and where.

As in OWL-ViT (Minderer et al. 2022) every patch may speak for one thing, and its box starts at
the patch; as in DETR (Carion et al. 2020) the true boxes are given out one to one by the
cheapest matching, all other patches learn to say nothing, and the loss is cross-entropy plus L1
plus generalised IoU. Knows nothing of pictures, towers or files: boxes are centre and size,
shares of the picture.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

__all__ = ["NO_CLASS", "BoxHead", "corners", "generalised_iou", "set_loss"]

NO_CLASS = -1
"""The class of a place in a batch that holds no box: pictures have different numbers of them."""
_CLASS, _L1, _GIOU = 1.0, 5.0, 2.0  # DETR's weights, of the matching and of the loss
_NOTHING = 0.1  # DETR's weight of patches that have nothing to find
_HEADS = 4


class BoxHead(nn.Module):
    """(n, P, d) patches of a grid of side √P → logits (n, P, C + 1), the last class is nothing,
    and boxes (n, P, 4)."""

    def __init__(self, width: int, grid: int, classes: int, *, hidden: int, layers: int) -> None:
        super().__init__()
        self.inward = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden))
        self.place = nn.Parameter(0.02 * torch.randn(1, grid * grid, hidden))
        layer = nn.TransformerEncoderLayer(
            hidden, _HEADS, 2 * hidden, dropout=0.1, activation="gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        # Patches must see one another to agree on who speaks for a thing.
        self.mix = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(hidden)
        self.label = nn.Linear(hidden, classes + 1)
        self.box = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 4))
        with torch.no_grad():
            self.label.bias.zero_()
            self.label.bias[-1] = math.log(grid * grid)  # nearly all patches say nothing
        self.register_buffer("start", _start(grid), persistent=False)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and boxes."""
        seen = self.norm(self.mix(self.inward(patches) + self.place))
        return self.label(seen), torch.sigmoid(self.box(seen) + self.start)


def set_loss(logits: Tensor, boxes: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """DETR's loss. ``labels``: (n, M), :data:`NO_CLASS` where there is no box; ``targets``:
    (n, M, 4) centre and size."""
    picture, patch, place = _matched(logits, boxes, labels, targets)
    nothing = logits.shape[2] - 1
    wanted = torch.full(logits.shape[:2], nothing, device=logits.device)
    wanted[picture, patch] = labels[picture, place]
    weight = torch.ones(logits.shape[2], device=logits.device)
    weight[nothing] = _NOTHING
    said, true = boxes[picture, patch], targets[picture, place]
    count = max(1, len(true))
    return (
        _CLASS * F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), weight)
        + _L1 * (said - true).abs().sum() / count
        + _GIOU * (1 - generalised_iou(corners(said), corners(true))).sum() / count
    )


def corners(boxes: Tensor) -> Tensor:
    """(…, 4) centre and size → left, top, right, bottom."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU less the share of the smallest box around both that neither covers (Rezatofighi et al.
    2019), in (-1, 1]; corners, broadcast."""
    size = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(0)
    around = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    areas = [(x[..., 2:] - x[..., :2]).prod(-1) for x in (a, b)]
    both, hull = size.prod(-1), around.prod(-1)
    either = areas[0] + areas[1] - both
    return both / either.clamp_min(1e-9) - (hull - either) / hull.clamp_min(1e-9)


@torch.no_grad()
def _matched(
    logits: Tensor, boxes: Tensor, labels: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The cheapest one-to-one matching in each picture: (k,) pictures, patches and places."""
    index = labels.clamp_min(0)[:, None].expand(-1, logits.shape[1], -1)
    cost = -_CLASS * logits.float().softmax(-1).gather(2, index)
    cost = cost + _L1 * torch.cdist(boxes.float(), targets.float(), p=1)
    cost = cost - _GIOU * generalised_iou(corners(boxes)[:, :, None], corners(targets)[:, None])
    costs, there = torch.nan_to_num(cost, nan=1e6).cpu().numpy(), (labels != NO_CLASS).cpu().numpy()
    found: list[tuple[int, int, int]] = []
    for number, (mine, places) in enumerate(zip(costs, there, strict=True)):
        which = places.nonzero()[0]
        rows, columns = linear_sum_assignment(mine[:, which])
        found += [(number, r, which[c]) for r, c in zip(rows, columns, strict=True)]
    picture, patch, place = torch.tensor(found, dtype=torch.long).reshape(-1, 3).T.to(labels.device)
    return picture, patch, place


def _start(grid: int) -> Tensor:
    """(P, 4) logits of a box around each patch's middle, of two patches' side."""
    middle = (torch.arange(grid) + 0.5) / grid
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    side = torch.full_like(x, min(0.9, 2 / grid))
    return torch.logit(torch.stack([x, y, side, side], -1).flatten(0, 1), eps=1e-4)
