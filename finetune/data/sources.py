"""What a source says of which picture: a folder, a table, COCO, a data set, a memory.

Opens no picture (:mod:`finetune.data.gather`) and knows nothing of splits but what a source says.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finetune.data.arrow import arrow_files, arrow_source, hub_folder
from finetune.data.coco import coco_boxes, coco_rows, is_coco
from finetune.data.table import Found, Source, Split
from finetune.data.tables import PREPARED, TABLES, read_json, table_rows
from finetune.settings.schema import DataSettings
from tools.config import Config
from tools.errors import DataError

if TYPE_CHECKING:
    from tools.memory import State
    from tools.memory.photos import PhotoStore

__all__ = ["find_rows"]

_SPLITS: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_MEMORY = "memory:"
_HUB = "hf:"
_PACK = "pack:"


def find_rows(settings: DataSettings, config: Config) -> Source:
    """Every row of ``settings.source``, unopened. Raises :class:`DataError`."""
    source = settings.source
    if source.startswith(_MEMORY):
        return _remembered(source.removeprefix(_MEMORY) or config.workspace, config)
    if source.startswith(_PACK) or source.lower().endswith(".zip"):
        return _packed(Path(source.removeprefix(_PACK)).expanduser(), config)
    is_hub = source.startswith(_HUB)
    path = hub_folder(source.removeprefix(_HUB)) if is_hub else Path(source).expanduser()
    if not source or not path.exists():
        raise DataError(
            f"There is no {source or 'source of pictures'}: give a folder with one folder of "
            "pictures for each class, a .json, .csv, .tsv, .jsonl or .parquet file, a data set as "
            "hf:OWNER/NAME, a pack (.zip), or memory:WORKSPACE."
        )
    table = next((path / name for name in PREPARED if (path / name).is_file()), None)
    if table is not None:
        return Source(table_rows(table, settings, _SPLITS))
    if files := arrow_files(path):
        return arrow_source(path, files, settings, _SPLITS, config.cache_folder / "pictures")
    if path.is_dir():
        return Source(_folder(path))
    if path.suffix.lower() == ".json" and is_coco(content := read_json(path)):
        if settings.task == "boxes":
            return coco_boxes(path, content)
        return coco_rows(path, content, settings)
    if path.suffix.lower() in TABLES:
        return Source(table_rows(path, settings, _SPLITS))
    raise DataError(
        f"{path.name} is no source of pictures that I know: give a folder, or a .json, .csv, .tsv, "
        ".jsonl or .parquet file."
    )


def _folder(root: Path) -> list[Found]:
    inner = _folders(root)
    if inner and all(folder.name.lower() in _SPLITS for folder in inner):
        return [
            found
            for folder in inner
            for found in _class_folders(folder, _SPLITS[folder.name.lower()])
        ]
    return _class_folders(root, None)


def _class_folders(root: Path, split: Split | None) -> list[Found]:
    found = [
        Found(file, label=folder.name.replace("_", " ").strip(), split=split)
        for folder in _folders(root)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not _hidden(file.relative_to(root))
    ]
    if not found and any(file.is_file() for file in root.iterdir()):
        raise DataError(
            f"{root} has files and no class folders: put the pictures of each class in a folder "
            "of the class's name."
        )
    return found


def _folders(root: Path) -> list[Path]:
    return [p for p in sorted(root.iterdir()) if p.is_dir() and not p.name.startswith(".")]


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def _remembered(workspace: str, config: Config) -> Source:
    """What was taught in a workspace: every exemplar under its label."""
    from tools.memory import MemoryHome

    config = config.model_copy(update={"workspace": workspace})
    if config.database_url is None and not config.memory_folder.is_dir():
        raise DataError(
            f"Nothing has been taught in workspace {workspace!r} ({config.memory_folder} is not "
            "there): teach something in the chat first, or name another workspace."
        )
    home = MemoryHome(config)
    try:
        memory = home.workspace(workspace)
        return _taught(memory.state, memory.photos)
    finally:
        home.close()


def _packed(path: Path, config: Config) -> Source:
    """What an exported memory holds; its pictures are copied out."""
    from tools.memory.photos import PhotoStore
    from tools.packs import open_pack

    photos = PhotoStore(config.cache_folder / "packs")
    with open_pack(path) as pack:
        for photo_id in pack.state.owners:
            if photo_id not in photos:
                photos.put(pack.photo(photo_id), durable=False)
        return _taught(pack.state, photos)


def _taught(state: State, photos: PhotoStore) -> Source:
    rows = [
        Found(photos.path(e.photo_id), label=state.labels[e.label_id].name)
        for e in state.exemplars.values()
        if e.positive
    ]
    said = {x.name: x.description for x in state.labels.values() if x.description}
    return Source(rows, said)
