"""Taught pictures found by words: by name, by description, by looks, or honestly not at all."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from tests.conftest import PICTURES
from tests.desk import Workbench
from tests.fakes import drawing
from tools.artifacts import Matches
from tools.errors import ToolError
from tools.finding import FALSE_FINDS, fits, threshold
from tools.models import Models

RED, BLUE = drawing("red"), drawing("blue", "cross")


@pytest.fixture
def bench(home: Path, fakes: Models) -> Iterator[Workbench]:
    made = Workbench(home, fakes)
    yield made
    made.close()


def found(bench: Workbench) -> list[str]:
    matches = bench.artifacts[0]
    assert isinstance(matches, Matches)
    return [x.label for x in matches.items]


def test_a_name_comes_before_a_description_and_that_before_looks(bench: Workbench) -> None:
    bench.call("teach_label", RED, label="zorb", description="a round toy with one eye")
    bench.call("teach_label", BLUE, label="toy")
    for query in ("zorb", "Zorbs"):
        assert bench.call("find_similar", query=query) == "Zorb: 1 picture you showed me."
    assert bench.call("find_similar", query="toy") == "Toy: 1 picture you showed me."
    for query in ("round toys", "anything round?", "one eye"):
        said = bench.call("find_similar", query=query)
        assert said == f"What fits “{query}”: zorb, by what you told me." and found(bench) == [
            "zorb"
        ]
    assert bench.call("find_similar", query="a blue cross").endswith("by their looks.")
    assert found(bench)[0] == "toy"


def test_what_fits_nothing_is_said_to(bench: Workbench) -> None:
    bench.call("teach_label", RED, label="zorb")
    bench.call("teach_label", BLUE, label="blick")
    said = bench.call("find_similar", query="justice")
    assert said.startswith("Nothing you showed me fits “justice”. The closest is ")
    assert said.endswith(", and not close.") and found(bench) == []


def test_pictures_without_a_label_left_are_no_finds(bench: Workbench) -> None:
    with pytest.raises(ToolError, match="teach me something first"):
        bench.call("find_similar", query="zorb")
    bench.call("teach_label", RED, label="zorb", description="round")
    bench.call("teach_answer", BLUE, question="which size", answer="M8")
    bench.call("reject_label", drawing("blue", "box"), label="zorb")
    bench.call("find_similar", query="a blue cross")
    assert "zorb" in found(bench) or found(bench) == []
    bench.call("forget_pictures", RED)
    with pytest.raises(ToolError, match="teach me something first"):
        bench.call("find_similar", query="round")


def test_the_threshold_is_that_of_the_largest_of_n_normal_numbers() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 6, 40):
        largest = rng.standard_normal((20_000, n)).max(axis=1)
        assert float((largest > threshold(n)).mean()) == pytest.approx(FALSE_FINDS, abs=0.006)
    assert threshold(1) == pytest.approx(float(norm.isf(FALSE_FINDS)))


def test_the_shipped_embedder_finds_by_looks(home: Path, pocket: Models) -> None:
    bench = Workbench(home, pocket)
    pictures = {"apple_fluent": "mip", "car_fluent": "nop", "rocket_fluent": "rop"}
    for name, label in pictures.items():
        bench.call("teach_label", PICTURES / f"{name}.png", label=label)
    for query, label in (("an apple", "mip"), ("car", "nop"), ("a rocket", "rop")):
        assert bench.call("find_similar", query=query) == (
            f"What fits “{query}”: {label}, by its looks."
        )
    for query in ("a dragon", "a saxophone", "an umbrella"):
        assert bench.call("find_similar", query=query).startswith("Nothing you showed me fits")
    vectors = bench.memory.vectors(bench.recall.sight.embedder)
    order = list(vectors)
    z = [x.z for x in fits(bench.recall.sight, [vectors[i] for i in order], "a rocket")]
    assert (
        order[int(np.argmax(z))] == bench.memory.state.of(bench.memory.label("rop").id)[0].photo_id
    )
    bench.close()
