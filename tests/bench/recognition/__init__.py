"""The recognition benchmark: ``python -m tests.bench.recognition`` (see ``__main__``)."""
