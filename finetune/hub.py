"""Publishing a run on the Hugging Face Hub: what is sent there, and all that can go wrong.

What the shelf would hold is sent, with the metrics and the settings, and no path of this machine;
never a picture, a prediction or a checkpoint. It arrives in one commit or not at all. Knows
nothing of flags, nor of training.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from finetune.cache import cached
from finetune.cards import hub_card
from finetune.files import replace_folder, write_json, write_text
from finetune.instructions import hub_base
from finetune.public import Public
from finetune.runs import Run
from finetune.shelf import finished, manifest_of
from tools.config import ModelChoice
from tools.errors import ImprintError, ModelError, SettingsError, TrainingFailed
from tools.models.sources import locate

__all__ = ["Parcel", "check_name", "fetched", "pack", "send"]

_CARD = "README.md"
_GITS = ".gitattributes"


@dataclass(frozen=True)
class Parcel:
    """A folder that is ready to be sent to ``repo``, and its files."""

    repo: str
    folder: Path
    files: tuple[str, ...]
    size: int
    """In bytes."""


def check_name(repo: str) -> None:
    """Raises :class:`SettingsError` for what can be no repository's name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo)
        named = repo.count("/") == 1
    except HFValidationError:
        named = False
    if not named:
        raise SettingsError(
            f"--hub {repo!r:.120} can't be the name of a repository: write OWNER/NAME, of letters, "
            "digits, '-', '_' and '.'."
        )


def pack(run: Run, folder: Path, repo: str, *, licence: str | None = None) -> Parcel:
    """Write what is sent to ``folder``, in place of what was there.

    ``licence`` is that of the weights, the base model's where it is None and that one says.
    Raises :class:`TrainingFailed` for a run that has not finished.
    """
    check_name(repo)
    results = finished(run)
    public = Public(run, results)
    said, settings = public.results, public.settings
    front = {"license": licence} if licence else _licence(results)

    def fill(place: Path) -> None:
        shutil.copytree(run.folder / "best_model", place, dirs_exist_ok=True)
        _write_peft(place, said)
        write_json(place / "metrics.json", said["figures"])
        write_text(place / "settings.yaml", settings.yaml())
        manifest = public.of(manifest_of(run, results, place))
        # The card is not among the files that are checked: people correct theirs on the Hub.
        write_text(place / _CARD, hub_card(settings, said, repo=repo, licence=front))
        manifest["files"].pop(_CARD, None)
        write_json(place / "manifest.json", manifest)

    replace_folder(folder, fill)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    names = tuple(p.relative_to(folder).as_posix() for p in files)
    return Parcel(repo, folder, names, sum(p.stat().st_size for p in files))


def send(
    parcel: Parcel, *, private: bool = False, revision: str | None = None, replace: bool = False
) -> str:
    """Upload ``parcel`` in one commit; returns the page of that commit.

    ``private``: a repository that is made is; ``replace``: files may be there already. Raises
    :class:`SettingsError` without a usable token, :class:`TrainingFailed` for all else.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token

    with _failures(parcel.repo) as reached:
        if get_token() is None:
            raise SettingsError(
                "No token for the Hub is on this machine: run `hf auth login` with one that may "
                "write, or set HF_TOKEN."
            )
        api = HfApi(library_name="imprint")
        api.whoami()
        api.create_repo(parcel.repo, private=private or None, exist_ok=True)
        reached.append("the repository")
        if revision is not None:
            api.create_branch(parcel.repo, branch=revision, exist_ok=True)
        there = api.model_info(parcel.repo, revision=revision)
        if private and not there.private:
            raise SettingsError(
                f"{parcel.repo} is there already and is public: make it private on its page, or "
                "give --hub another name."
            )
        old = {str(one.rfilename) for one in there.siblings or ()} - {_GITS}
        if old and not replace:
            raise TrainingFailed(
                f"{parcel.repo} has files already ({', '.join(sorted(old)[:3])}): give --hub "
                "another name, or --replace them."
            )
        # Weights of another method would be taken for these.
        stale = [name for name in old - set(parcel.files) if name.endswith(".safetensors")]
        # `upload_folder` makes several commits of what takes minutes; half of it is of no use.
        done = api.create_commit(
            parcel.repo,
            [
                *(CommitOperationAdd(name, parcel.folder / name) for name in parcel.files),
                *(CommitOperationDelete(name) for name in sorted(stale)),
            ],
            commit_message="What was learned, how it was measured, and how to use it",
            revision=revision,
        )
        return str(done.commit_url)


def fetched(name: str) -> Path:
    """Where the repository ``OWNER/NAME[@REVISION]`` lies in this machine's cache.

    Raises :class:`SettingsError` with the command that brings it: nothing is downloaded here.
    """
    repo, _, revision = name.partition("@")
    check_name(repo)
    folder = cached(repo, revision or None)
    if folder is None:
        asked = f" --revision {revision}" if revision else ""
        raise SettingsError(
            f"{name} is not on this machine: fetch it with `hf download {repo}{asked}`."
        )
    return folder


def _write_peft(folder: Path, results: Mapping[str, Any]) -> None:
    """PEFT notes the folder its base came from: the Hub's name of it is what others need."""
    path = folder / "adapter_config.json"
    if path.is_file():
        config = json.loads(path.read_text(encoding="utf-8"))
        base = hub_base(results)
        revision = results["model"]["revision"] if base else None
        write_json(path, {**config, "base_model_name_or_path": base, "revision": revision})


def _licence(results: Mapping[str, Any]) -> dict[str, Any]:
    """The base model's, as its own card's front matter has it; nothing where it says none."""
    try:
        folder = locate(ModelChoice(str(results["model"]["base_model"])), must_see=False).folder
        text = (folder / _CARD).read_text(encoding="utf-8")
        front = yaml.safe_load(text.split("---", 2)[1]) if text.startswith("---") else {}
    except (ModelError, OSError, UnicodeDecodeError, yaml.YAMLError, IndexError):
        return {}
    known = ("license", "license_name", "license_link")
    return {k: front[k] for k in known if k in front} if isinstance(front, dict) else {}


@contextmanager
def _failures(repo: str) -> Iterator[list[str]]:
    """What the Hub and the way to it can do wrong, as one sentence each."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
        logging,
    )

    reached: list[str] = []
    level, bars = logging.get_verbosity(), not are_progress_bars_disabled()
    logging.set_verbosity_error()  # it tells of every try
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        yield reached
    except (ImprintError, OfflineModeIsEnabled) as exc:
        if isinstance(exc, ImprintError):
            raise
        raise SettingsError(
            "HF_HUB_OFFLINE keeps this process off the network: unset it to publish on the Hub."
        ) from exc
    except (HfHubHTTPError, httpx2.HTTPError, OSError, RuntimeError, ValueError) as exc:
        cause: BaseException = exc
        while isinstance(cause, RuntimeError) and cause.__cause__ is not None:
            cause = cause.__cause__  # an upload in a thread
        made = f" {repo} is there, without anything of this run." if reached else ""
        if isinstance(cause, HfHubHTTPError):
            raise _refused(repo, cause, made) from exc
        if isinstance(cause, httpx2.TransportError):
            raise TrainingFailed(
                f"The connection to the Hub failed ({_line(cause)}), so nothing was published: "
                f"look at the network, then do it again.{made}"
            ) from exc
        raise TrainingFailed(
            f"The Hub did not take it ({_line(cause)}), so nothing was published: do it again "
            f"later.{made}"
        ) from exc
    finally:
        logging.set_verbosity(level)
        if bars:
            enable_progress_bars()


def _refused(repo: str, exc: Any, made: str) -> ImprintError:
    """The sentence for an HTTP status."""
    status = int(exc.response.status_code)
    owner = repo.partition("/")[0]
    if status == 401:
        return SettingsError(
            "The Hub does not accept the token of this machine (401): make a new one that may "
            "write, and give it to `hf auth login` or HF_TOKEN."
        )
    if status == 403:
        return SettingsError(
            f"The token of this machine may not write to {repo} (403): use one that may, or a name "
            f"of your own in place of {owner}.{made}"
        )
    said = _line(exc)
    if status >= 500 or status == 429:
        return TrainingFailed(
            f"The Hub has trouble of its own ({said}), so nothing was published: try again "
            f"later.{made}"
        )
    return TrainingFailed(f"The Hub refused it ({said}), so nothing was published.{made}")


def _line(exc: BaseException) -> str:
    return " ".join(str(exc).split())[:160].rstrip(".") or type(exc).__name__
