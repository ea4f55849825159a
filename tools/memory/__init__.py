"""What was taught: a journal that is the truth, photos by content, and a Chroma index over both.

Knows nothing of conversations; of models it knows only the vectors an embedder makes.
"""

from tools.memory.changes import Taught
from tools.memory.events import Event
from tools.memory.home import MemoryHome
from tools.memory.joining import joined
from tools.memory.labels import clean_name, name_key
from tools.memory.ledger import noting
from tools.memory.memory import Match, Memory
from tools.memory.retraction import Retraction, retraction
from tools.memory.state import Exemplar, Label, RememberedAnswer, State, fold

__all__ = [
    "Event",
    "Exemplar",
    "Label",
    "Match",
    "Memory",
    "MemoryHome",
    "RememberedAnswer",
    "Retraction",
    "State",
    "Taught",
    "clean_name",
    "fold",
    "joined",
    "name_key",
    "noting",
    "retraction",
]
