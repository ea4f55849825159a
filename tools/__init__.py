"""What the assistant can do: pictures, models, memory, recognition and the tools over them.

Knows nothing of conversations, browsers, terminals or training.
"""
