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

__all__ = ["SIGHT_ONLY", "Located", "download_command", "locate"]

SIGHT_ONLY = ("dinov2", "dinov2_with_registers", "dinov3_vit", "vit", "ijepa")
"""Model types that see and do not read."""

_POCKET = Path(__file__).parent / "pocket"
_HUB_ID = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
# A repository of our profiles whose main branch has no safetensors: its .bin is read by torch
# with weights_only, which refuses anything but tensors. Everything else must be safetensors.
_BIN_ONLY = frozenset({"openai/clip-vit-base-patch32"})
_OTHER_FORMATS = ("*.h5", "*.msgpack", "onnx/*")
# transformers makes an empty tokenizer, without a word, where all of these are missing.
_TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")
_PROCESSORS = ("processor_config.json", "preprocessor_config.json")
_SAMPLES, _SAMPLE_BYTES, _WHOLE_BYTES = 64, 1 << 16, 1 << 26


@dataclass(frozen=True)
class Located:
    """A model that is on this machine.

    ``source`` is what the settings say, ``name`` its short name, ``weights`` the files that
    hold its parameters, all in ``folder``.
    """

    source: str
    name: str
    folder: Path
    weights: tuple[Path, ...]

    @cached_property
    def config(self) -> dict[str, Any]:
        """``config.json``. Raises ModelFailed when it is not a JSON object."""
        path = self.folder / "config.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise ModelFailed(
                f"{self.source} is damaged: {path} is not readable JSON ({exc}); "
                "fetch or save it again."
            ) from exc
        if not isinstance(config, dict):
            raise ModelFailed(
                f"{self.source} is damaged: {path} holds no JSON object; fetch or save it again."
            )
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
    def revision(self) -> str | None:
        """The commit of a model in the Hub's cache, None for a folder."""
        return self.folder.name if self.folder.parent.name == "snapshots" else None

    def id(self, *details: str) -> str:
        """``name`` and 8 hexadecimal digits of the weights, preprocessing and ``details``.

        3–40 characters of ``[a-z0-9-]``. Other weights of the same shapes give another id;
        of files above 64 MB, 64 places of 64 KB are read.
        """
        digest = hashlib.sha256("|".join(details).encode())
        for name in ("config.json", *_PROCESSORS):
            path = self.folder / name
            digest.update(path.read_bytes() if path.is_file() else b"-")
        for path in self.weights:
            _digest_file(digest, path)
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower())[:31].strip("-") or "model"
        return f"{slug}-{digest.hexdigest()[:8]}"


def locate(choice: ModelChoice, *, hub_cache: Path | None = None, must_see: bool = True) -> Located:
    """The folder of ``choice``, complete enough to load.

    ``hub_cache`` is the Hugging Face cache to look in (default: the user's); a model that need
    not ``must_see`` may come without an image processor. Raises :class:`ModelMissing`: which
    model, how large, which command fetches it.
    """
    source = choice.source
    if source.startswith("pocket:"):
        name = source.removeprefix("pocket:")
        folder = _POCKET / name
        if not re.fullmatch(r"\w+", name) or not folder.is_dir():
            raise ModelMissing(
                f"The pocket model {source} is not in this installation: "
                "install Imprint again, or choose pocket:clip, pocket:blip or pocket:llava."
            )
        return _complete(source, f"pocket-{name}", folder, "install Imprint again")
    as_path = Path(source).expanduser()
    if source and as_path.is_dir():
        remedy = "save the model there again, with its processor"
        return _complete(source, as_path.resolve().name, as_path, remedy, sees=must_see)
    match = _HUB_ID.fullmatch(source)
    if match is None or source.startswith(("/", ".")):
        raise ModelMissing(
            f"There is no model {source!r}: give a folder that exists or a Hub id (owner/name)."
        )
    cached = _cached(match["repo"], match["revision"], hub_cache)
    remedy = f"fetch it with `{download_command(source)}`"
    if cached is None:
        size = f" (about {choice.gigabytes:g} GB)" if choice.gigabytes else ""
        raise ModelMissing(f"The model {source}{size} is not on this machine: {remedy}.")
    bins = match["repo"] in _BIN_ONLY
    return _complete(source, match["repo"], cached, remedy, bins=bins, sees=must_see)


def download_command(source: str) -> str:
    """The shell command that brings a Hub id, without the same weights in other formats."""
    match = _HUB_ID.fullmatch(source)
    if match is None:
        raise ValueError(f"not a Hub id: {source!r}")
    revision = f" --revision {match['revision']}" if match["revision"] else ""
    bins = () if match["repo"] in _BIN_ONLY else ("*.bin",)
    excluded = "".join(f' --exclude "{pattern}"' for pattern in (*_OTHER_FORMATS, *bins))
    return f"hf download {match['repo']}{revision}{excluded}"


def _cached(repo: str, revision: str | None, hub_cache: Path | None) -> Path | None:
    from huggingface_hub.constants import HF_HUB_CACHE

    # On a machine without the model the client itself (0.4 s to import) is not needed.
    if not (Path(hub_cache or HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}").is_dir():
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            repo, revision=revision, cache_dir=hub_cache, local_files_only=True
        )
    except IncompleteSnapshotError as exc:
        # Our command leaves other formats out; what we need of it, _complete checks.
        return Path(str(exc.snapshot_path))
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
    return Path(found)


def _complete(
    source: str, name: str, folder: Path, remedy: str, *, bins: bool = False, sees: bool = True
) -> Located:
    weights = _weights(folder, "model.safetensors")
    if not weights and bins:
        weights = _weights(folder, "pytorch_model.bin")
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if sees and not any((folder / processor).is_file() for processor in _PROCESSORS):
        missing.append("preprocessor_config.json")
    reads = bool(missing) or Located(source, name, folder, weights).model_type not in SIGHT_ONLY
    if reads and not any((folder / tokenizer).is_file() for tokenizer in _TOKENIZERS):
        missing.append("tokenizer.json")
    missing += [path.name for path in weights if not path.is_file()]
    if not weights:
        missing.append("model.safetensors")
    if missing and (folder / "adapter_config.json").is_file():
        given = f"hf:{source}" if _HUB_ID.fullmatch(source) else folder
        raise ModelMissing(
            f"{source} is an adapter and no model: put it on the shelf with `python -m finetune "
            f"publish {given}`, then `shelf use` it, with the model that it was trained on."
        )
    if missing:
        raise ModelMissing(
            f"The model {source} is incomplete ({folder} lacks {', '.join(missing)}): {remedy}."
        )
    return Located(source, name, folder, weights)


def _weights(folder: Path, name: str) -> tuple[Path, ...]:
    """The file ``name``, or the files that its index lists, which may not exist."""
    index = folder / f"{name}.index.json"
    if (folder / name).is_file() or not index.is_file():
        return (folder / name,) if (folder / name).is_file() else ()
    try:
        names = {str(file) for file in json.loads(index.read_text("utf-8"))["weight_map"].values()}
    except (ValueError, LookupError, AttributeError, TypeError):
        return ()
    return tuple(folder / file for file in sorted(names))


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
