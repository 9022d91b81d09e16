"""The ranking loss against a direct implementation of the published formula (arXiv 2412.19048, equation 3).

The direct one compares every pair of texts with every other in one broadcast matrix, 66 million entries at m = 128, and leaves the
rest to autograd; like ours it looks at the teacher's scores once for all heads, which the published code does anew for each. Both
take turns in this process with the same number of threads, forward and backward of four heads; the speed-up is the median over the
rounds. Differences are the largest absolute ones, in float32 as in training, over random batches and over batches with equal
scores and repeated texts. ``grad_diff_relative`` is to the largest entry of the gradient.

m = 1024 has 137 billion terms, and only our loss is run, in a fresh process each with one head and with four: seconds of one
forward and backward pass, the teacher's order included, and the growth of the process's peak memory by it. With ``--device cuda``
all times and the memory are the GPU's. The direct loss needs about 5 GB. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mtd_ray.losses import PairOrder, ranking_losses

HEADS = (1024, 512, 256, 128)
MARGIN = 0.015
Loss = Callable[[Sequence[Tensor], Tensor], Tensor]


def direct(students: Sequence[Tensor], similarity: Tensor) -> Tensor:
    """Sum of the heads' losses, every pair of pairs written out."""
    i, j = torch.triu_indices(len(similarity), len(similarity), offset=1, device=similarity.device)
    teacher = similarity[i, j]
    ordered = teacher[:, None] < teacher[None, :]
    terms = ordered.sum()
    total = similarity.new_zeros(())
    for student in students:
        unit = F.normalize(student, dim=-1)
        scores = (unit @ unit.T)[i, j]
        hinge = F.relu(scores[:, None] - scores[None, :] + MARGIN)
        total = total + torch.where(ordered, hinge, 0.0).sum() / terms
    return total


def ours(students: Sequence[Tensor], similarity: Tensor) -> Tensor:
    """Sum of the heads' losses, as the training step takes them."""
    return ranking_losses(students, PairOrder.from_similarity(similarity), MARGIN).sum()


def batch(rows: int, heads: Sequence[int], device: str) -> tuple[list[Tensor], Tensor]:
    """Student vectors that resemble a teacher's after some training, and that teacher's similarities."""
    chance = torch.Generator().manual_seed(rows)
    topics = torch.randn(rows // 8 + 1, 64, generator=chance)[torch.randint(rows // 8 + 1, (rows,), generator=chance)]
    teacher = F.normalize(topics + torch.randn(rows, 64, generator=chance), dim=-1).to(device)
    students = [teacher @ torch.randn(64, head, generator=chance).to(device) for head in heads]
    noisy = [vectors + torch.randn(vectors.shape, generator=chance).to(device) * 4 for vectors in students]
    return [F.normalize(vectors, dim=-1).requires_grad_() for vectors in noisy], teacher @ teacher.T


def gradients(loss: Loss, students: Sequence[Tensor], similarity: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The loss and each head's gradient."""
    value = loss(students, similarity)
    return value.detach(), list(torch.autograd.grad(value, list(students)))


def difference(students: Sequence[Tensor], similarity: Tensor) -> tuple[float, float, float]:
    """Largest absolute difference of value and gradient, and that of the gradient as a share of its largest entry."""
    value, slopes = gradients(ours, students, similarity)
    expected, expected_slopes = gradients(direct, students, similarity)
    pairs = list(zip(slopes, expected_slopes, strict=True))
    worst = max(float((slope - wanted).abs().max()) for slope, wanted in pairs)
    share = max(float((slope - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12)) for slope, wanted in pairs)
    return float((value - expected).abs()), worst, share


def differences(device: str) -> dict[str, float]:
    """Over random batches, and such with equal teacher scores and repeated texts."""
    found = [difference(*batch(128, HEADS, device))]
    for rows in (3, 17, 64, 96):
        students, similarity = batch(rows, HEADS[2:], device)
        found.append(difference(students, similarity))
        found.append(difference(students, (similarity * 10).round() / 10))
        twice = torch.arange(rows, device=device) // 2
        found.append(difference([student.detach()[twice].requires_grad_() for student in students], similarity[twice][:, twice]))
    return dict(zip(("value_diff", "grad_diff", "grad_diff_relative"), map(max, zip(*found, strict=True)), strict=True))


def seconds(loss: Loss, students: Sequence[Tensor], similarity: Tensor, repeats: int = 1) -> float:
    """Mean of one forward and backward pass."""
    started = time.perf_counter()
    for _ in range(repeats):
        gradients(loss, students, similarity)
    if similarity.is_cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats


def compare(device: str, rounds: int) -> dict[str, float]:
    """Both losses by turns at m = 128 with four heads."""
    students, similarity = batch(128, HEADS, device)
    seconds(ours, students, similarity)
    seconds(direct, students, similarity)
    times = [(seconds(direct, students, similarity), seconds(ours, students, similarity, repeats=10)) for _ in range(rounds)]
    for slow, fast in times:
        print(f"m = 128, four heads: direct {slow:.3f} s, ours {fast * 1000:.1f} ms, {slow / fast:.0f} times")
    return {
        "speedup_m128": round(statistics.median(slow / fast for slow, fast in times), 1),
        "direct_m128_seconds": round(statistics.median(slow for slow, _ in times), 4),
        "m128_seconds": round(statistics.median(fast for _, fast in times), 5),
    }


def resident_mb(field: str) -> float:
    """This process's memory now (``VmRSS``) or at its peak (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def alone(device: str, rows: int, heads: int) -> dict[str, float | bool]:
    """One large batch in a process of its own: time, growth of the peak memory, whether a repetition has the same bits."""
    seconds(ours, *batch(16, HEADS[:heads], device))
    students, similarity = batch(rows, HEADS[:heads], device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    resident = resident_mb("VmRSS")
    took = seconds(ours, students, similarity)
    extra = (torch.cuda.max_memory_allocated() - before) / 2**20 if device == "cuda" else resident_mb("VmHWM") - resident
    first, second = (gradients(ours, students, similarity)[1] for _ in range(2))
    return {"seconds": round(took, 3), "extra_mb": round(extra, 1), "same_bits": all(map(torch.equal, first, second))}


def in_a_fresh_process(arguments: argparse.Namespace, heads: int) -> dict[str, float | bool]:
    """:func:`alone` for m = 1024."""
    command = [sys.executable, __file__, "--device", arguments.device, "--threads", str(arguments.threads), "--alone", str(heads)]
    measured: dict[str, float | bool] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"m = 1024, {heads} head(s): {measured['seconds']} s, {measured['extra_mb']} MB more, same bits: {measured['same_bits']}")
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.alone:
        print(json.dumps(alone(arguments.device, 1024, arguments.alone)))
        return
    one, four = in_a_fresh_process(arguments, 1), in_a_fresh_process(arguments, 4)
    large = {f"m1024_{key}": value for key, value in one.items()} | {
        f"m1024_four_heads_{key}": value for key, value in four.items()
    }
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu"
    result = compare(arguments.device, arguments.rounds) | differences(arguments.device) | large
    print(json.dumps({"device": device, "threads": arguments.threads, "torch": torch.__version__} | result))


if __name__ == "__main__":
    main()
