"""The sentence about pictures that the running models were not made for.

Knows nothing of how such a picture is told (:class:`tools.background.Background`).
"""

__all__ = ["outside_note"]


def outside_note() -> str:
    """What is wrong with the picture, and how to switch."""
    return (
        "This looks like a photo, and the pocket models only know drawings, icons, shapes, "
        "garments and characters, so don't rely on what I say about it. For photos, start "
        "Imprint with --profile small (the line under the chat says how to get its models)."
    )
