"""The files of a model folder as the Hub's repositories and the Hub's cache have them.

Knows nothing of what the models are. Also: an ear for what transformers says about them.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

__all__ = ["COMMIT", "as_older_repositories", "in_hub_cache", "transformers_silent"]

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def as_older_repositories(folder: Path) -> Path:
    """Rewrite ``folder`` as the well-known repositories have it; returns it.

    The picture processor in a file of its own, CLIP's under its first name and with sizes as
    plain numbers, the chat template in JSON, LLaVA's tower one level deeper, a buffer among
    CLIP's weights that is gone by now, and somebody's taste in sampling.
    """
    path = folder / "processor_config.json"
    processor = json.loads(path.read_text())
    images = processor.pop("image_processor")
    images["processor_class"] = processor["processor_class"]
    if images["image_processor_type"] == "CLIPImageProcessor":
        images["feature_extractor_type"] = "CLIPFeatureExtractor"
        del images["image_processor_type"]
        images["size"] = images["size"]["shortest_edge"]
        images["crop_size"] = images["crop_size"]["height"]
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    path.unlink()
    if len(processor) > 1:
        path.write_text(json.dumps(processor))
    template = folder / "chat_template.jinja"
    if template.is_file():
        text = json.dumps({"chat_template": template.read_text()})
        (folder / "chat_template.json").write_text(text)
        template.unlink()
    weights = folder / "model.safetensors"
    tensors = {
        name.replace("vision_tower.", "vision_tower.vision_model."): value
        for name, value in load_file(weights).items()
    }
    if "text_model.embeddings.position_embedding.weight" in tensors:
        tensors["text_model.embeddings.position_ids"] = torch.arange(16)[None]
    save_file(tensors, weights, metadata={"format": "pt"})
    generation = folder / "generation_config.json"
    if generation.is_file():
        asked = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "max_length": 20}
        generation.write_text(json.dumps(json.loads(generation.read_text()) | asked))
    return folder


def in_hub_cache(
    folder: Path, repo: str, cache: Path, *, revision: str = "main", commit: str = COMMIT
) -> Path:
    """Lay ``folder`` out in ``cache`` as ``hf download REPO --exclude "*.h5"`` does; the snapshot.

    Files are links to blobs, ``refs`` knows the revision, and the listing of the repository has
    a file that was left out.
    """
    root = cache / f"models--{repo.replace('/', '--')}"
    snapshot = root / "snapshots" / commit
    reference = root / "refs" / revision
    for directory in (root / "blobs", root / "trees", reference.parent, snapshot):
        directory.mkdir(parents=True, exist_ok=True)
    reference.write_text(commit)
    listing = {"tf_model.h5": {"size": 9, "blob_id": "0" * 40}}
    for file in sorted(folder.iterdir()):
        content = file.read_bytes()
        blob = root / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
        listing[file.name] = {"size": len(content), "blob_id": blob.name[:40]}
    tree = {"format_version": 1, "files": listing}
    (root / "trees" / f"{commit}.json").write_text(json.dumps(tree))
    return snapshot


@contextmanager
def transformers_silent() -> Iterator[None]:
    """Fails when transformers has advice or warnings for the user of what runs inside."""
    said: list[str] = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("transformers")
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)
    assert not said
