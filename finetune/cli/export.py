"""`export`: a run's model as a folder or files that need nothing of Imprint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finetune.cli import options as o
from finetune.cli.show import show_json, worded
from tools.errors import SettingsError

FORMATS = ("merged", "onnx")


def export(
    name: o.RunName,
    to: Annotated[Path, typer.Option(help="The folder to write; it must not exist.")],
    kind: Annotated[
        str,
        typer.Option(
            "--format",
            help="merged: what was learned in the base's weights, for transformers alone; onnx: "
            "an embedder's towers, a captioner's eyes or a linear head, for onnxruntime.",
        ),
    ] = "merged",
    home: o.Home = None,
    as_json: o.Json = False,
) -> None:
    """A run's model for use without Imprint, checked against what it said in training."""
    with worded():
        if kind not in FORMATS:
            raise SettingsError(f"--format {kind}: choose one of {', '.join(FORMATS)}.")
        from finetune.runs import open_run
        from finetune.work import failures
        from tools.config import load_config

        run = open_run(load_config(home=home).home / "runs", name)
        with failures(to.parent):
            if kind == "onnx":
                from finetune.onnx import export_onnx

                off = export_onnx(run, to)
                if as_json:
                    show_json({"folder": str(to), "off": off})
                    return
                typer.echo(f"{to}:")
                for part, share in off.items():
                    typer.echo(f"  {part}.onnx, at most {share:.2g} off in onnxruntime")
                return
            from finetune.export import export_merged

            done = export_merged(run, to)
        if as_json:
            show_json({**vars(done), "folder": str(done.folder)})
        else:
            typer.echo(done.words)
