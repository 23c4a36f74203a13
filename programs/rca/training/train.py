"""`python -m semlang.programs.rca.training.train --out FOLDER`: trains the model of the RCA programs on this processor.

It goes on from the checkpoint in FOLDER where there is one. Batches depend on the seed and the step alone. The learning
rate rises over the first steps, stays, and falls to nothing over the last fifth.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ....backend.tokenizer import load_tokenizer
from .batches import SIZES, Batch, batch
from .network import Network, judged
from .storage import export_weights, load_checkpoint, save_checkpoint
from .teacher import Teacher
from .tokens import write_tokenizer

WRITTEN, READ, FIT, ECHO = 0.03, 0.003, 1.0, 1.0
"""Weights of the losses: tokens of answers, tokens of prompts, and the two heads; the course has that of choices."""
WARM_UP, FALL = 60, 0.2
CHECKPOINT_EVERY = 50
MOST_COMPILED = 512
"""Tokens of a lesson up to which compiling pays; longer ones are few."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    flags = argparse.ArgumentParser(prog="train", description=(__doc__ or "").split("\n")[0])
    flags.add_argument("--out", type=Path, required=True, help="folder of checkpoint, log and model")
    flags.add_argument("--seed", type=int, default=11)
    flags.add_argument("--steps", type=int, default=410, help="of the whole training")
    flags.add_argument("--stop", type=int, help="stop before this step, to go on later")
    flags.add_argument("--rate", type=float, default=3e-3, help="learning rate")
    flags.add_argument("--threads", type=int, default=1)
    flags.add_argument("--compile", action="store_true", help="let torch compile the network: faster, other rounding")
    return flags


def main(argv: list[str] | None = None) -> int:
    """Train, then write the model to `FOLDER/model`."""
    flags = parser().parse_args(argv)
    torch.set_num_threads(flags.threads)
    directory = flags.out / "model"
    if not (directory / "tokenizer.json").is_file():
        write_tokenizer(directory, flags.seed)
    tokenizer = load_tokenizer(directory)
    teacher, network = Teacher(tokenizer), Network(flags.seed)
    optimizers = make_optimizers(network)
    first = restore(flags.out / "checkpoint.pt", network, optimizers)
    forward = torch.compile(network.forward, dynamic=False) if flags.compile else network.forward
    for step in range(first, min(flags.steps, flags.stop or flags.steps)):
        began = time.perf_counter()
        lessons = batch(teacher, tokenizer, step, flags.seed)
        run = forward if lessons.tokens <= MOST_COMPILED else network.forward
        told = learn(network, run, optimizers, lessons, flags.rate * rate_at(step, flags.steps))
        told |= {"step": step, "tokens": lessons.tokens, "seconds": round(time.perf_counter() - began, 2)}
        with (flags.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(told) + "\n")
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == min(flags.steps, flags.stop or flags.steps):
            save_checkpoint(flags.out / "checkpoint.pt", {
                "step": step + 1, "network": network.state_dict(), "optimizers": [o.state_dict() for o in optimizers]})
            export_weights(network, directory)
    return 0


def make_optimizers(network: Network) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for everything else."""
    matrices = [weight for weight in network.blocks.parameters() if weight.ndim == 2]
    others = [weight for weight in network.parameters() if not any(weight is one for one in matrices)]
    return [torch.optim.Muon(matrices, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0)]


def restore(path: Path, network: Network, optimizers: list[torch.optim.Optimizer]) -> int:
    """Load a checkpoint where there is one; the step to go on with."""
    state = load_checkpoint(path)
    if state is None:
        return 0
    network.load_state_dict(state["network"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    step: int = state["step"]
    return step


def rate_at(step: int, steps: int) -> float:
    """The learning rate as a share of the highest."""
    return min(1.0, (step + 1) / WARM_UP, (steps - step) / (FALL * steps))


def learn(network: Network, run: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]],
          optimizers: list[torch.optim.Optimizer], lessons: Batch, rate: float) -> dict[str, Any]:
    """One step; what was lost, and how often choices and options were right. `run` is the network's `forward`."""
    ids = torch.zeros(SIZES[lessons.tokens], lessons.tokens, dtype=torch.long)
    weights = torch.zeros(ids.shape)
    names: dict[tuple[int, int], str] = {}
    for row, (lesson, question) in enumerate(zip(lessons.lessons, lessons.questions, strict=True)):
        ids[row, :len(lesson.ids)] = torch.tensor(lesson.ids)
        weights[row, 1:len(lesson.ids)] = torch.where(torch.tensor(lesson.written[1:]), WRITTEN, READ)
        for choice in lesson.choices:
            weights[row, choice] = lessons.choice
            names[row, choice] = question.function
    echoing, fitting, hidden = run(ids)
    wanted = (weights > 0).nonzero()
    kept = wanted[(weights[wanted[:, 0], wanted[:, 1]] > READ) | (torch.arange(len(wanted)) % 3 == 0)]
    rows, at = kept[:, 0], kept[:, 1]
    logits = network.logits(hidden[rows, at - 1])
    losses = F.cross_entropy(logits, ids[rows, at], reduction="none")
    loss = (losses * weights[rows, at]).sum() / len(ids)
    fit, right = fit_loss(network, fitting, lessons)
    echoes = torch.from_numpy(lessons.echoes).float()
    known = (echoes >= 0).float()
    echo = F.binary_cross_entropy_with_logits(judged(echoing, network.echoes), echoes.clamp(min=0), known,
                                              reduction="sum") / known.sum()
    torch.autograd.backward(loss + FIT * fit + ECHO * echo)
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    hits: dict[str, list[bool]] = {}
    for hit, place in zip((logits.argmax(-1) == ids[rows, at]).tolist(), kept.tolist(), strict=True):
        if (name := names.get((place[0], place[1]))) is not None:
            hits.setdefault(name, []).append(hit)
    with torch.no_grad():
        return {"loss": round(float(loss), 4), "echo_loss": round(float(echo), 4),
                "fit_loss": round(float(fit), 4), "fit": right,
                **{name: share(found) for name, found in sorted(hits.items())},
                "written": round(float(losses[weights[rows, at] == WRITTEN].mean()), 3),
                "read": round(float(losses[weights[rows, at] == READ].mean()), 3)}


def fit_loss(network: Network, hidden: Tensor, lessons: Batch) -> tuple[Tensor, float | None]:
    """How wrong the training head is about options, the right one counting as much as all others; how often it is right
    about which of them fits best."""
    losses, right = [], []
    for row, (ends, question) in enumerate(zip(lessons.ends, lessons.questions, strict=True)):
        if ends:
            scores = judged(hidden[row, list(ends)], network.fits)[:, 0]
            losses.append(F.binary_cross_entropy_with_logits(scores, torch.tensor(question.fits, dtype=torch.float32)))
            if True in question.fits:
                right.append(question.fits[int(scores.argmax())])
    return (torch.stack(losses).mean() if losses else torch.zeros(())), share(right)


def share(hits: list[bool]) -> float | None:
    """How many of them are true."""
    return round(sum(hits) / len(hits), 3) if hits else None


if __name__ == "__main__":
    sys.exit(main())
