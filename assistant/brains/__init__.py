"""Language models in the router's place: how one is chosen, asked, and shown pictures.

``choosing`` reads ``--brain``, ``openai_compatible`` and ``local`` are the two kinds it knows,
``asking`` asks any of them and says in words why none answered, ``prompting`` writes what it
reads. Nothing here decides what may be done: :mod:`assistant.consent` does.
"""

from assistant.brains.choosing import Brain, choose_brain

__all__ = ["Brain", "choose_brain"]
