"""How training goes, on one line: rewritten in place on a terminal, a new line every few seconds otherwise."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from mtd_ray.distill.numbers.metrics import StepMetrics

_PLAIN_EVERY_S = 5.0
_WAIT_WORTH_TELLING = 0.02


class Progress:
    """Shows the last logged step.

    Args:
        stages: names, in order.
        stream: where the line goes; standard error by default.
        clock: gives seconds.
    """

    def __init__(self, stages: list[str], *, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stages = stages
        self._stream = stream or sys.stderr
        self._clock = clock
        self._terminal = self._stream.isatty()
        self._shown: tuple[str, int] | None = None
        self._shown_at = -_PLAIN_EVERY_S
        self._score: float | None = None

    def show(self, metrics: StepMetrics) -> None:
        """Show a step unless it is the one shown, or, where lines stay, the last one is only seconds old."""
        now = self._clock()
        last = metrics.step == metrics.steps
        if self._shown == (metrics.stage, metrics.step):
            return
        if not self._terminal and not last and now - self._shown_at < _PLAIN_EVERY_S:
            return
        self._shown, self._shown_at = (metrics.stage, metrics.step), now
        self._write(self._describe(metrics), stays=last or not self._terminal)

    def evaluated(self, score: float) -> None:
        """A checkpoint was measured (nDCG@10, 0 to 1): shown from the next step on."""
        self._score = score

    def _describe(self, metrics: StepMetrics) -> str:
        number = self._stages.index(metrics.stage) + 1
        # What a narrow terminal cuts off comes last.
        words = [
            (True, f"distil  stage {number}/{len(self._stages)} {metrics.stage}"),
            (True, f"step {metrics.step:,}/{metrics.steps:,}"),
            (metrics.step < metrics.steps, f"ETA {_duration(metrics.seconds_left)}"),
            (True, f"loss {metrics.loss:.4f}"),
            (self._score is not None, f"score {100 * (self._score or 0):.2f}"),
            (metrics.wait_share > _WAIT_WORTH_TELLING, f"data wait {metrics.wait_share:.0%}"),
            (metrics.missing_share > 0, f"missing targets {metrics.missing_share:.2%}"),
            (True, f"{metrics.samples_per_s:,.0f} samples/s"),
            (metrics.share_of_peak is not None, f"{metrics.share_of_peak or 0:.0%} of peak"),
        ]
        return ", ".join(text for told, text in words if told)

    def _write(self, line: str, *, stays: bool) -> None:
        if self._terminal:
            columns = shutil.get_terminal_size().columns - 1
            line = "\r" + line[:columns].ljust(columns)
        self._stream.write(line + ("\n" if stays else ""))
        self._stream.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
