"""Where a model's files are: ``pocket:NAME``, a folder or a Hub id become a checked folder.

Knows nothing of torch and opens no network connection: a Hub id is looked up in the local
Hugging Face cache only. What is not there is worded in one sentence, with the command that
brings it.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tools.config import ModelChoice
from tools.errors import ModelFailed, ModelMissing

__all__ = ["Located", "download_command", "locate"]

_POCKET = Path(__file__).parent / "pocket"
_HUB_ID = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_PREPROCESSING = ("config.json", "preprocessor_config.json", "processor_config.json")
# Its main branch holds no safetensors; torch reads its .bin without unpickling objects.
_BIN_ONLY = frozenset({"openai/clip-vit-base-patch32"})
_SAMPLES, _SAMPLE_BYTES, _WHOLE_BYTES = 64, 1 << 16, 1 << 26


@dataclass(frozen=True)
class Located:
    """A model that is on this machine: its source as written, and the folder of its files."""

    source: str
    folder: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        """``config.json``. Raises ModelFailed when it is not JSON."""
        path = self.folder / "config.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise ModelFailed(
                f"{self.source} is damaged: {path} is not readable JSON ({exc})."
            ) from exc
        if not isinstance(config, dict):
            raise ModelFailed(f"{self.source} is damaged: {path} holds no JSON object.")
        return config

    @property
    def architecture(self) -> str:
        """The class that saved it, as ``config.json`` says (``CLIPModel``); '' if it does not."""
        names = self.config.get("architectures") or [""]
        return str(names[0])

    @property
    def model_type(self) -> str:
        """``clip``, ``llava``…; '' if ``config.json`` does not say."""
        return str(self.config.get("model_type", ""))

    @property
    def safetensors(self) -> bool:
        """Whether its weights are safetensors (else a ``.bin`` that torch restricts to tensors)."""
        return any(path.suffix == ".safetensors" for path in _weights(self.folder))

    def id(self, *details: str) -> str:
        """Source name and 8 hexadecimal digits of the weights, preprocessing and ``details``.

        3–40 characters of ``[a-z0-9-]``. Other weights of the same shapes give another id;
        files above 64 MB are sampled (64 places of 64 KB), so gigabytes are not read.
        """
        digest = hashlib.sha256("|".join(details).encode())
        for name in _PREPROCESSING:
            path = self.folder / name
            digest.update(path.read_bytes() if path.is_file() else b"-")
        for path in _weights(self.folder):
            _digest_file(digest, path)
        name = self.folder.name if self.source.startswith(("/", ".", "~")) else self.source
        name = name.partition("@")[0]
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:31].strip("-") or "model"
        return f"{slug}-{digest.hexdigest()[:8]}"


def locate(choice: ModelChoice, *, hub_cache: Path | None = None) -> Located:
    """The folder of ``choice``, complete enough to load.

    ``hub_cache`` is the Hugging Face cache to look in (default: the user's). Raises
    :class:`ModelMissing`: which model, how large, which command fetches it.
    """
    source = choice.source
    if source.startswith("pocket:"):
        name = source.removeprefix("pocket:")
        folder = _POCKET / name
        if not re.fullmatch(r"\w+", name) or not folder.is_dir():
            raise ModelMissing(
                f"The pocket model {source!r} is not in this installation: "
                "install Imprint again, or choose pocket:clip, pocket:blip or pocket:llava."
            )
        return _complete(source, folder, "install Imprint again")
    as_path = Path(source).expanduser()
    if as_path.is_dir():
        return _complete(source, as_path, "save the model there again, with its processor")
    match = _HUB_ID.fullmatch(source)
    if match is None or as_path.is_absolute():
        raise ModelMissing(
            f"There is no model {source!r}: give a folder that exists or a Hub id (owner/name)."
        )
    folder_or_none = _cached(match["repo"], match["revision"], hub_cache)
    if folder_or_none is None:
        size = f" (about {choice.gigabytes:g} GB)" if choice.gigabytes else ""
        raise ModelMissing(
            f"The model {source}{size} is not on this machine: "
            f"fetch it with `{download_command(source)}`."
        )
    return _complete(source, folder_or_none, f"fetch it with `{download_command(source)}`")


def download_command(source: str) -> str:
    """The shell command that brings a Hub id, without the same weights in other formats."""
    match = _HUB_ID.fullmatch(source)
    if match is None:
        raise ValueError(f"not a Hub id: {source!r}")
    revision = f" --revision {match['revision']}" if match["revision"] else ""
    formats = ["*.h5", "*.msgpack", "onnx/*"]
    if match["repo"] not in _BIN_ONLY:
        formats.append("*.bin")
    excluded = "".join(f' --exclude "{pattern}"' for pattern in formats)
    return f"hf download {match['repo']}{revision}{excluded}"


def _cached(repo: str, revision: str | None, hub_cache: Path | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            repo, revision=revision, cache_dir=hub_cache, local_files_only=True
        )
    except IncompleteSnapshotError as exc:
        # Formats we do not need were left out of the download; _complete checks what we do.
        return Path(str(exc.snapshot_path))
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
    return Path(found)


def _complete(source: str, folder: Path, remedy: str) -> Located:
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    missing += _missing_weights(folder)
    if missing:
        raise ModelMissing(
            f"The model {source} is incomplete: {' and '.join(missing)} not found in {folder}; "
            f"{remedy}."
        )
    return Located(source, folder)


def _missing_weights(folder: Path) -> list[str]:
    if not _weights(folder):
        return ["its weights (model.safetensors)"]
    return [path.name for path in _weights(folder) if not path.is_file()]


def _weights(folder: Path) -> list[Path]:
    """The files transformers would load, in its order of preference; those of an index too."""
    for stem in ("model.safetensors", "pytorch_model.bin"):
        if (folder / stem).is_file():
            return [folder / stem]
        index = folder / f"{stem}.index.json"
        if index.is_file():
            try:
                names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
                return [folder / str(name) for name in sorted(set(names))]
            except (ValueError, KeyError, AttributeError, TypeError):
                return [index]
    return []


def _digest_file(digest: Any, path: Path) -> None:
    size = path.stat().st_size
    digest.update(b"%d:" % size)
    with path.open("rb") as file:
        if size <= _WHOLE_BYTES:
            digest.update(file.read())
            return
        for sample in range(_SAMPLES):
            file.seek(sample * (size - _SAMPLE_BYTES) // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
