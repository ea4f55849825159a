"""What tests share: an offline environment, a clean home, drawn pictures, the pocket models."""

import os

# Read when the libraries are imported, so before anything else here.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["LANGSMITH_TRACING"] = "false"
os.environ["MPLBACKEND"] = "Agg"
# Several processes with a thread for each core wait for each other: ten times longer here.
os.environ.setdefault("OMP_NUM_THREADS", "1")
for name in [n for n in os.environ if n.startswith("IMPRINT_") and n != "IMPRINT_REQUIRE_BROWSER"]:
    del os.environ[name]

from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant import open_assistant
from assistant.build import Imprint
from tests.fakes import FakeAnswerer, FakeCaptioner, FakeEmbedder
from tests.roles_data import captioned
from tools.config import load_config
from tools.models import Models, open_models

PICTURES = Path(__file__).parent / "pictures"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder that nothing has used."""
    return tmp_path / "home"


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs and boxes with captions: 8 of each to train on, 4 others to measure with."""
    return captioned(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="session")
def pocket() -> Models:
    """The shipped models, loaded once."""
    return open_models(load_config(profile="pocket"))


@pytest.fixture
def fakes() -> Models:
    """Small real things in the place of models: fast, deterministic, and they record calls."""
    return Models.of(embedder=FakeEmbedder(), captioner=FakeCaptioner(), answerer=FakeAnswerer())


@pytest.fixture
def imprint(home: Path, fakes: Models) -> Iterator[Imprint]:
    """An assistant on a clean home with fake models."""
    with open_assistant(home=home, models=fakes) as opened:
        yield opened


@pytest.fixture
def pocket_imprint(home: Path, pocket: Models) -> Iterator[Imprint]:
    """An assistant on a clean home with the shipped models."""
    with open_assistant(home=home, models=pocket) as opened:
        yield opened
