"""A file is there whole or not at all."""

from pathlib import Path

import pytest

from tools.whole import whole_file


@pytest.mark.parametrize("durable", [False, True])
def test_the_file_appears_at_the_end_of_the_block(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "new" / "file.txt"
    with whole_file(path, durable=durable) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("all of it")
    assert path.read_text() == "all of it"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("before")
    with pytest.raises(OSError, match="disk full"), whole_file(path) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_names_of_any_length_leave_room_for_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250)
    with whole_file(path) as temporary:
        temporary.write_text("1")
    assert path.read_text() == "1"
