"""The commands of ``imprint``.

Each opens the assistant, does one thing and prints it. Models are imported by what needs them.
"""

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from assistant.cli.background import background
from assistant.cli.history import ConversationOption, again, rewind
from assistant.cli.lines import photos_in, read_line
from assistant.cli.options import (
    Answerer,
    BrainOption,
    Captioner,
    Common,
    EmbedderOption,
    Home,
    Json,
    Profile,
    Quantize,
    Workspace,
    opened,
)
from assistant.cli.packs import memory

__all__ = ["app"]

app = typer.Typer(
    name="imprint",
    help="A chat assistant that learns what you show it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
PhotoArgument = Annotated[str, typer.Argument(help="A picture: file, http(s) URL or data: URI.")]


@app.callback()
def _common(
    context: typer.Context,
    home: Home = None,
    profile: Profile = None,
    workspace: Workspace = None,
    embedder: EmbedderOption = None,
    captioner: Captioner = None,
    answerer: Answerer = None,
    quantize: Quantize = None,
    brain: BrainOption = None,
) -> None:
    context.obj = Common(home, profile, workspace, embedder, captioner, answerer, quantize, brain)


@app.command()
def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to serve on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; default the first free one.")] = None,
    public: Annotated[
        bool | None, typer.Option(help="Give every browser a memory of its own.")
    ] = None,
    home: Home = None,
    profile: Profile = None,
    workspace: Workspace = None,
    brain: BrainOption = None,
) -> None:
    """Start the chat in the browser and print its address."""
    common = context.obj.over(home, profile, workspace, brain)
    with opened(common, as_json=False) as imprint:
        from assistant.settings import load_settings
        from assistant.ui import serve as serve_page

        imprint.settings = load_settings(host=host, port=port, public=public)
        serve_page(imprint)


@app.command()
def chat(
    context: typer.Context,
    conversation: ConversationOption = "terminal",
    home: Home = None,
    profile: Profile = None,
    workspace: Workspace = None,
    brain: BrainOption = None,
    as_json: Json = False,
) -> None:
    """Converse in the terminal; drop picture files into a line to show them."""
    with opened(context.obj.over(home, profile, workspace, brain), as_json=as_json) as imprint:
        from assistant.cli.show import show_reply

        talk = imprint.conversation(conversation)
        if sys.stdin.isatty() and not as_json:
            print(f"{imprint.models.describe()}\nType and press Enter; an empty line ends it.")
        while line := read_line():
            text, photos = photos_in(line)
            show_reply(talk.stream(text, photos), as_json=as_json)


@app.command()
def ask(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="What you say.")] = "",
    photo: Annotated[
        list[str] | None, typer.Option("--photo", "-p", help="A picture; may be repeated.")
    ] = None,
    conversation: ConversationOption = "terminal",
    home: Home = None,
    profile: Profile = None,
    workspace: Workspace = None,
    brain: BrainOption = None,
    as_json: Json = False,
) -> None:
    """Say one thing; the conversation goes on where the last one stopped."""
    with opened(context.obj.over(home, profile, workspace, brain), as_json=as_json) as imprint:
        from assistant.cli.show import show_reply

        talk = imprint.conversation(conversation)
        show_reply(talk.stream(text, photo or []), as_json=as_json)


@app.command()
def classify(
    context: typer.Context,
    photo: PhotoArgument,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="A name to choose; repeatable.")
    ] = None,
    home: Home = None,
    profile: Profile = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Say what a picture shows."""
    names = {"labels": label} if label else {}
    _do(context.obj.over(home, profile, workspace), as_json, "classify_image", [photo], **names)


@app.command()
def caption(
    context: typer.Context,
    photo: PhotoArgument,
    home: Home = None,
    profile: Profile = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Describe a picture."""
    _do(context.obj.over(home, profile, workspace), as_json, "caption_image", [photo])


@app.command()
def answer(
    context: typer.Context,
    photo: PhotoArgument,
    question: Annotated[str, typer.Argument(help="A question about the picture.")],
    home: Home = None,
    profile: Profile = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Answer a question about a picture."""
    _do(
        context.obj.over(home, profile, workspace),
        as_json,
        "answer_question",
        [photo],
        question=question,
    )


@app.command()
def embed(
    context: typer.Context,
    photo: PhotoArgument,
    home: Home = None,
    profile: Profile = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Print a picture's vector."""
    with opened(context.obj.over(home, profile, workspace), as_json=as_json) as imprint:
        from assistant.cli.show import print_json

        vector = [round(float(x), 6) for x in imprint.embed(photo)]
        if as_json:
            print_json({"embedder": imprint.models.embedder.id, "vector": vector})
        else:
            print(" ".join(map(str, vector)))


@app.command()
def similarity(
    context: typer.Context,
    photo: PhotoArgument,
    texts: Annotated[list[str], typer.Argument(help="Texts to compare the picture with.")],
    home: Home = None,
    profile: Profile = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Print how similar a picture is to texts (cosine)."""
    with opened(context.obj.over(home, profile, workspace), as_json=as_json) as imprint:
        from assistant.cli.show import print_json

        values = dict(zip(texts, imprint.similarity(photo, texts), strict=True))
        if as_json:
            print_json({"similarity": values})
        else:
            for text, value in sorted(values.items(), key=lambda x: -x[1]):
                print(f"{value:7.4f}  {text}")


@app.command()
def teach(
    context: typer.Context,
    label: Annotated[str, typer.Argument(help="What the pictures show.")],
    photos: Annotated[list[str], typer.Argument(help="Pictures of it.")],
    description: Annotated[str | None, typer.Option(help="A few words about it.")] = None,
    home: Home = None,
    profile: Profile = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Teach a label by pictures."""
    args = {"label": label, **({"description": description} if description else {})}
    _do(context.obj.over(home, profile, workspace), as_json, "teach_label", photos, **args)


@app.command()
def labels(
    context: typer.Context,
    home: Home = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """List what has been taught."""
    _do(context.obj.over(home, None, workspace), as_json, "list_labels")


@app.command()
def report(
    context: typer.Context,
    label: Annotated[str | None, typer.Argument(help="Only this label.")] = None,
    home: Home = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Say how well the taught labels are known, and what to show next."""
    with opened(context.obj.over(home, None, workspace), as_json=as_json) as imprint:
        from assistant.cli.show import show_report

        about = {"label": label} if label else {}
        show_report(imprint.call("report_knowledge", **about), as_json=as_json)


@app.command()
def forget(
    context: typer.Context,
    label: Annotated[str, typer.Argument(help="The label to forget.")],
    home: Home = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Forget a label (undo brings it back)."""
    _do(context.obj.over(home, None, workspace), as_json, "forget_label", label=label)


@app.command()
def undo(
    context: typer.Context,
    home: Home = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Take the last change of memory back."""
    _do(context.obj.over(home, None, workspace), as_json, "undo")


app.add_typer(memory, name="memory")
for _command in (again, rewind, background):
    app.command()(_command)


def _do(
    common: Common, as_json: bool, tool: str, photos: Sequence[str] = (), **arguments: Any
) -> None:
    """Call one tool and print what it says."""
    with opened(common, as_json=as_json) as imprint:
        from assistant.cli.show import show_step

        show_step(imprint.call(tool, photos, **arguments), as_json=as_json)
