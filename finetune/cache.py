"""What the Hub's cache of this machine holds. Nothing is downloaded here."""

from __future__ import annotations

from pathlib import Path

__all__ = ["cached"]


def cached(repo: str, revision: str | None, *, data_set: bool = False) -> Path | None:
    """The folder of a repository in the Hub's cache, as much of it as is there; None without."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

    kind = "dataset" if data_set else "model"
    try:
        found = snapshot_download(repo, repo_type=kind, revision=revision, local_files_only=True)
    except IncompleteSnapshotError as exc:
        found = str(exc.snapshot_path)
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
    return Path(found)
