"""``python -m tools.memory.probe FOLDER``: exit 0 when the Chroma store there works.

Run in a process of its own, because opening a damaged store may crash the one that does it.
"""

import sys
from pathlib import Path

import numpy as np

from tools.memory.index import open_client

__all__ = ["probe"]

_QUERIES = 20


def probe(folder: Path) -> None:
    """Open every collection, count it, and find some of its own rows; raises when one fails."""
    client = open_client(folder)
    for collection in client.list_collections():
        count = collection.count()
        got = collection.get(limit=_QUERIES, include=["embeddings"])
        vectors = got["embeddings"]
        if vectors is None or len(vectors) < min(count, _QUERIES):
            raise RuntimeError(f"{collection.name}: {count} rows counted, fewer read")
        for vector in vectors:
            found = collection.query(query_embeddings=np.asarray(vector)[None], n_results=1)
            distances = found["distances"]
            if not distances or not distances[0] or distances[0][0] > 1e-3:
                raise RuntimeError(f"{collection.name}: a row does not find itself")
    client.close()


if __name__ == "__main__":
    probe(Path(sys.argv[1]))
