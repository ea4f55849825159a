"""``imprint again`` and ``imprint rewind``: the last message said once more, or taken back.

Knows nothing of what becomes of memory then (:mod:`assistant.conversation`).
"""

from typing import Annotated

import typer

from assistant.cli.options import BrainOption, Home, Json, Profile, Workspace, opened

__all__ = ["ConversationOption", "again", "rewind"]

ConversationOption = Annotated[
    str, typer.Option("--conversation", help="Which conversation goes on.")
]


def again(
    context: typer.Context,
    text: Annotated[str | None, typer.Argument(help="In these words instead.")] = None,
    conversation: ConversationOption = "terminal",
    home: Home = None,
    profile: Profile = None,
    workspace: Workspace = None,
    brain: BrainOption = None,
    as_json: Json = False,
) -> None:
    """Say your last message again, with its pictures; what it changed in memory is undone first."""
    with opened(context.obj.over(home, profile, workspace, brain), as_json=as_json) as imprint:
        from assistant.cli.show import show_reply

        talk = imprint.conversation(conversation)
        show_reply(talk.again(talk.last_said, text), as_json=as_json)


def rewind(
    context: typer.Context,
    conversation: ConversationOption = "terminal",
    home: Home = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Take your last message back; `imprint ask yes` then undoes what it changed in memory."""
    with opened(context.obj.over(home, None, workspace), as_json=as_json) as imprint:
        from assistant.cli.show import print_json

        talk = imprint.conversation(conversation)
        taken = talk.rewind(talk.last_said)
        asked = taken.offer.reply if taken.offer else ""
        if as_json:
            print_json({"text": taken.turn.text, "asks": asked})
        else:
            print("\n".join(x for x in (f"Taken back: {taken.turn.text}", asked) if x))
