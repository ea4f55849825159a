"""Training here and with TRL's ``SFTTrainer``: pictures a second, peak memory and the losses.

    python -m tests.bench.training --out DIR [--models pocket-lora,pocket-qlora,smolvlm-256m]
        [--pictures 96 --batch 16 --epochs 3 --repeats 3 --threads 1 --cache DIR]

The same weights, adapter, pictures, ids (checked), order, batch, precision and optimiser; each
run in a process of its own, one of each in turn, medians told. What TRL does unless told otherwise
and is undone here: gradient checkpointing, and adapters of 4-bit models in bfloat16. From before
the trainer is made to the last step, so that looking at the pictures is counted; *later epochs* are
all but the first. A busy machine spoils seconds and not processor seconds: both are told.

`smolvlm-256m` has random weights in the shape of SmolVLM-256M-Instruct; ``--cache`` keeps them.
Needs ``pip install imprint-assistant[bench]``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.finetune_data import class_folders

__all__ = ["main"]

ROOT = Path(__file__).parents[2]
MODELS = {
    "pocket-lora": ("pocket:llava", "lora"),
    "pocket-qlora": ("pocket:llava", "qlora"),
    "smolvlm-256m": ("", "lora"),
}
LR = 0.002


class Clock:
    """Seconds, processor seconds and the loss at each step."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, float]] = [(time.perf_counter(), time.process_time())]
        self.losses: list[float] = []

    def step(self, loss: float) -> None:
        self.steps.append((time.perf_counter(), time.process_time()))
        self.losses.append(loss)

    def result(self, pictures: int, epochs: int) -> dict[str, Any]:
        start, end = self.steps[0], self.steps[-1]
        first = self.steps[len(self.losses) // epochs]
        seen, later = pictures * epochs, pictures * (epochs - 1)
        return {
            "per second": seen / (end[0] - start[0]),
            "per processor second": seen / (end[1] - start[1]),
            "later per second": later / (end[0] - first[0]),
            "later per processor second": later / (end[1] - first[1]),
            "peak GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
            "losses": self.losses,
        }


def settings_for(given: argparse.Namespace, **speed: Any) -> Any:
    """Of a run, here."""
    from finetune.settings.files import load_settings

    return load_settings(
        {
            "method": MODELS[given.model][1],
            "model": {"answerer": given.source},
            "data": {"source": given.data},
            "lora": {"rank": 16, "alpha": 32},
            "training": {
                "epochs": given.epochs,
                "batch": given.batch,
                "lr": LR,
                "schedule": "constant",
                "save_steps": 10**6,
                "check_memory": False,
            },
            "speed": speed,
        }
    )


def run_ours(given: argparse.Namespace) -> dict[str, Any]:
    """One training with this project's loop."""
    from finetune.events import EventLog
    from finetune.learners.answering import VlmLearner
    from finetune.learners.learner import Session

    rows, classes = rows_of(given)
    # Not by length: both are to see the same batches.
    learner = VlmLearner(settings_for(given, grouping=False), classes)
    clock = Clock()

    def told(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            clock.step(event["loss"])

    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "runs" / "one"
        folder.mkdir(parents=True)
        session = Session(folder, EventLog(folder / "events.jsonl"), on_event=told)
        learner.fit(rows, [], session, 0)
    return clock.result(len(rows), given.epochs)


def run_trl(given: argparse.Namespace) -> dict[str, Any]:
    """One training with TRL, by its documentation."""
    import datasets
    import torch
    from transformers import PrinterCallback, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from finetune.methods import adapt
    from finetune.prompts import Prompts
    from finetune.training.collate import Collator, RowDataset
    from finetune.vlm import open_vlm

    datasets.disable_progress_bars()
    rows, classes = rows_of(given)
    settings = settings_for(given, dequantise=False)
    vlm = open_vlm(settings)
    model = adapt(vlm, settings).model
    prompts = Prompts(settings.prompt, classes)
    examples = [
        {
            "images": [row.photo().image],
            "prompt": prompt_text(vlm, prompts.asked(row)),
            "completion": vlm.tokenizer.decode(vlm.answer_ids(prompts.answer(row))),
        }
        for row in rows
    ]
    data = datasets.Dataset.from_list(examples)
    clock = Clock()
    precise = [(p, p.detach().clone()) for p in model.parameters() if p.requires_grad]

    class Follow(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                clock.step(logs["loss"])

    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            num_train_epochs=given.epochs,
            per_device_train_batch_size=given.batch,
            learning_rate=LR,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            max_grad_norm=1.0,
            bf16=model.dtype == torch.bfloat16,
            gradient_checkpointing=False,
            max_length=None,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=not torch.cuda.is_available(),
            disable_tqdm=True,
            seed=0,
            data_seed=0,
        )
        trainer = SFTTrainer(
            model, args=config, train_dataset=data, processing_class=vlm.answerer.processor
        )
        for weight, own in precise:
            weight.data = own
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(Follow())
        theirs = trainer.data_collator([dict(data[0])])
        ours = Collator(vlm, prompts)([RowDataset(rows)[0]])
        for name in ("input_ids", "labels"):
            if theirs[name].tolist() != ours[name].tolist():
                raise SystemExit(f"TRL's {name} differ: {theirs[name]} from {ours[name]}")
        trainer.train()
    return clock.result(len(rows), given.epochs)


def prompt_text(vlm: Any, question: str) -> str:
    """The prompt as TRL wants it: text in which a picture is one token."""
    content = [{"type": "image"}, {"type": "text", "text": question}]
    text = vlm.answerer.processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    first = vlm.tokenizer.decode(vlm.prompt_ids(question)[:1])
    return text if text.startswith(first) else first + text


def rows_of(given: argparse.Namespace) -> tuple[Sequence[Any], tuple[str, ...]]:
    """What is learned."""
    from finetune.data import gather
    from tools.config import load_config

    table = gather(settings_for(given).data, load_config())
    return table.rows, table.classes


def compare(given: argparse.Namespace, model: str, data: Path, cache: Path) -> dict[str, Any]:
    """Results of the repeats, by who ran them."""
    source = MODELS[model][0]
    if model == "smolvlm-256m":
        from tests.real_shapes import save_smolvlm_256m

        source = str(cache / model)
        if not (cache / model / "config.json").exists():
            save_smolvlm_256m(cache / model)
    found: dict[str, Any] = {"ours": [], "trl": []}
    for _ in range(given.repeats):
        for who in found:
            done = subprocess.run(
                [
                    sys.executable, "-m", "tests.bench.training", "--run", who, "--model", model,
                    "--source", source, "--data", str(data), "--batch", str(given.batch),
                    "--epochs", str(given.epochs),
                ],
                cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": str(given.threads)},
                capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode:
                raise SystemExit(f"{who} failed:\n{done.stderr[-3000:]}")
            found[who].append(json.loads(done.stdout.splitlines()[-1]))
            kept = given.out / f"{model}.json"  # hours may have gone into what is there
            kept.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def report(found: dict[str, Any], out: Path, given: argparse.Namespace) -> None:
    """The table, and a plot of the losses."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(5 * len(found), 4), squeeze=False)
    names = [n for n in next(iter(found.values()))["ours"][0] if n != "losses"]
    print("| model | | " + " | ".join(names) + " |")
    print("|" + "---|" * (len(names) + 2))
    for axis, (model, runs) in zip(axes[0], found.items(), strict=True):
        medians = {
            who: [statistics.median(r[n] for r in several) for n in names]
            for who, several in runs.items()
        }
        ratio = [a / b for a, b in zip(medians["ours"], medians["trl"], strict=True)]
        for who, values in {**medians, "ours / TRL": ratio}.items():
            print(f"| {model} | {who} | " + " | ".join(f"{v:.3g}" for v in values) + " |")
        apart = max(
            abs(a - b)
            for a, b in zip(runs["ours"][0]["losses"], runs["trl"][0]["losses"], strict=True)
        )
        print(f"{model}: losses of the two differ by {apart:.2g} at most")
        for who, style in (("ours", "-"), ("trl", "--")):
            axis.plot(runs[who][0]["losses"], style, label=who)
        axis.set(title=model, xlabel="step", ylabel="loss")
        axis.legend()
    figure.tight_layout()
    figure.savefig(out / "losses.png", dpi=120)
    print(
        f"n = {given.repeats} each, medians; {given.pictures} pictures, {given.epochs} epochs, "
        f"batch {given.batch}, {given.threads} threads; {out / 'losses.png'}"
    )


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="where the plot and all figures go")
    parser.add_argument("--models", default="pocket-lora,pocket-qlora,smolvlm-256m")
    parser.add_argument("--pictures", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="folder of the model with random weights")
    for name in ("--run", "--model", "--source", "--data"):  # of one run
        parser.add_argument(name, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        print(json.dumps((run_ours if given.run == "ours" else run_trl)(given)))
        return
    if given.out is None:
        parser.error("--out is needed")
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        data = class_folders(Path(scratch) / "data", each=given.pictures // 2)
        cache = given.cache or Path(scratch)
        found = {m: compare(given, m, data, cache) for m in given.models.split(",")}
    report(found, given.out, given)


if __name__ == "__main__":
    main()
