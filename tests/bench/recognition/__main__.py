"""``python -m tests.bench.recognition``: our recognizer against the methods of the literature.

    python -m tests.bench.recognition --data DIR --out RESULTS [--seeds 10] [--processes 2]
    python -m tests.bench.recognition --features FILE.npz [--background FILE.npz] --quick

One harness: every method of a seed, set and shot count sees the same vectors, the same shots and
the same queries. The baselines are tuned on validation rows, as in their papers; ours on nothing.
Means over seeds with 95 % intervals; nothing here is a test.

Parts: ``accuracy`` (shots 1 to 16, and imbalanced), ``names`` (own, none, other and made-up words),
``incremental`` (labels one at a time), ``openset``, ``mixed`` (a memory of several kinds),
``calibration``, ``ablation``; ``speed`` runs alone and only when asked for.

Lines of the design that were tried and left out because they did not pay: ten views at teaching,
recentring on what is taught, adapting the covariance between classes, the name's own similarity to
the picture as a second expert, whitening by the total covariance of unlabelled pictures, and
accepting by a conformal p-value of leave-one-out scores, which bounds how many known things are
refused where what is promised is how many strangers are let in. Of the exemplars as strangers to
the other labels (:mod:`tools.openset`): moving P(known) in place of its threshold, which ranks
worse; never past what left-out exemplars reach, which lets in nearly as many as before; averages of
the domains' log-odds in place of their probabilities.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.recognition import calibration, closedset, files, mixed, openset, promises, speed
from tests.bench.recognition.closedset import OURS
from tests.bench.recognition.features import FeatureSet, from_npz, local_sets
from tests.bench.recognition.methods import METHODS
from tests.bench.recognition.report import all_tables
from tests.bench.recognition.tasks import SHOTS

PARTS = ("accuracy", "names", "incremental", "openset", "mixed", "calibration", "ablation")
Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One part of one set with one seed."""

    part: str
    number: int
    seed: int
    shots: tuple[int, ...]
    methods: tuple[str, ...]
    quick: bool


_SETS: list[FeatureSet] = []  # of this process; a job names its set by number


def work(job: Job) -> list[Row]:
    """The rows of a job."""
    source = _SETS[job.number]
    parts: dict[str, Callable[[], list[Row]]] = {
        "accuracy": lambda: closedset.run(source, job.seed, job.shots, job.methods),
        "names": lambda: promises.names(source, job.seed, job.shots[:3]),
        "incremental": lambda: promises.incremental(source, job.seed, job.shots[:3]),
        "mixed": lambda: mixed.run(_SETS, source, job.seed),
        "openset": lambda: openset.run(source, job.seed, **({"pooled": 40} if job.quick else {})),
        "calibration": lambda: calibration.run(source, job.seed, job.shots),
        "ablation": lambda: closedset.ablate(source, job.seed, job.shots),
    }
    return parts[job.part]()


def _receive(sets: list[FeatureSet]) -> None:
    _SETS[:] = sets


def done(
    jobs: Sequence[Job], sets: list[FeatureSet], processes: int
) -> Iterator[tuple[Job, list[Row]]]:
    """Each job with its rows, in order."""
    if processes <= 1:
        _receive(sets)
        yield from ((job, work(job)) for job in jobs)
        return
    # spawn: a fork of a process with torch's threads can hang.
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=_receive, initargs=(sets,)) as pool:
        yield from zip(jobs, pool.imap(work, jobs), strict=True)


def measure(args: argparse.Namespace, sets: list[FeatureSet]) -> list[Row]:
    """All rows, with progress on stderr."""
    jobs = [
        Job(part, number, seed, tuple(args.shots), tuple(args.methods), args.quick)
        for seed in range(args.seeds)
        for part in args.parts
        for number in range(len(sets))
    ]
    rows: list[Row] = []
    started = time.perf_counter()
    for count, (job, found) in enumerate(done(jobs, sets, args.processes), start=1):
        rows += found
        spent = time.perf_counter() - started
        left = spent / count * (len(jobs) - count)
        name = sets[job.number].name
        print(
            f"[{count}/{len(jobs)}] seed {job.seed} {job.part} {name}: {len(found)} rows, "
            f"{spent:.0f} s, about {left:.0f} s left",
            file=sys.stderr,
        )
    return rows


def choices(text: str, known: Sequence[str], flag: str) -> list[str]:
    """Comma-separated names, each of them known."""
    names = [n.strip() for n in text.split(",") if n.strip()]
    unknown = [n for n in names if n not in known]
    if unknown or not names:
        raise SystemExit(f"{flag} {text!r}: {', '.join(unknown) or 'nothing'} is not one of "
                         f"{', '.join(known)}")  # fmt: skip
    return names


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, help="folder with emoji/, omniglot/, caltech101/, features/ …")
    add(
        "--features",
        type=Path,
        action="append",
        default=[],
        help="an .npz with features, labels, classes and optional text; repeatable",
    )
    add("--background", type=Path, help="an .npz with features of varied pictures, for --features")
    add("--statistics", type=Path, help="a saved background instead of the pocket embedder's own")
    add("--logit-scale", type=float, default=100.0, help="of --features with text (100 for CLIP)")
    add("--cache", type=Path, help="folder for embeddings (default: the user's cache)")
    add("--out", type=Path, help="folder for results.json, results.md and results.png")
    add("--seeds", type=int, help="how many (default 10; 2 with --quick)")
    add("--sets", default="", help="only these, by comma (default all)")
    add("--shots", default="", help="only these of 1,2,4,8,16")
    add("--methods", default="", help=f"only these of {', '.join(METHODS)}, {OURS}")
    add("--parts", default="", help=f"only these of {', '.join(PARTS)}")
    add("--processes", type=int, default=1, help="seeds and sets in parallel (default 1)")
    add("--quick", action="store_true", help="two seeds, few questions: does it run?")
    add("--speed", action="store_true", help="measure speed and memory instead")
    args = parser.parse_args(argv)
    args.shots = [int(s) for s in choices(args.shots, [str(s) for s in SHOTS], "--shots")] \
        if args.shots else list(SHOTS)  # fmt: skip
    args.methods = choices(
        args.methods or ",".join([*METHODS, OURS]), [*METHODS, OURS], "--methods"
    )
    args.parts = choices(args.parts or ",".join(PARTS), PARTS, "--parts")
    args.sets = [s.strip() for s in args.sets.split(",") if s.strip()]
    args.seeds = args.seeds or (2 if args.quick else 10)
    if not (args.speed or args.data or args.features):
        parser.error("give --data DIR, --features FILE.npz, or --speed")
    return args


def load(args: argparse.Namespace) -> list[FeatureSet]:
    """The sets asked for."""
    sets = [
        from_npz(f, background=args.background, logit_scale=args.logit_scale) for f in args.features
    ]
    if args.data:
        sets += local_sets(args.data, cache=args.cache, statistics=args.statistics, only=args.sets)
    missing = set(args.sets) - {s.name for s in sets}
    if missing or not sets:
        raise SystemExit(f"no set {', '.join(sorted(missing))}; there are: "
                         f"{', '.join(s.name for s in sets)}")  # fmt: skip
    return [s for s in sets if not args.sets or s.name in args.sets]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    args = arguments(argv)
    if args.speed:
        for line in speed.run(quick=args.quick):
            print(line, flush=True)
        return
    sets = load(args)
    rows = measure(args, sets)
    settings = {
        "seeds": args.seeds,
        "shots": args.shots,
        "parts": args.parts,
        "methods": {n: {k: list(v) for k, v in METHODS[n].grid.items()}
                    for n in args.methods if n in METHODS},
        "sets": {s.name: {"rows": len(s.features), "d": s.features.shape[1],
                          "classes": len(s.classes), "text": s.text is not None} for s in sets},
    }  # fmt: skip
    if args.out:
        print(files.write(args.out, rows, settings, OURS))
        print(f"written: {args.out}/results.md, results.json, results.png", file=sys.stderr)
    else:
        print(all_tables(rows, OURS))


if __name__ == "__main__":
    main()
