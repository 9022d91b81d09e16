"""What workers tell the driver. Imports nothing heavy: the actor that holds it would carry PyTorch in memory for nothing."""

from __future__ import annotations

from typing import Any

from mtd_ray.errors import MtdError


class Board:
    """Actor between the workers and the driver: the last logged step, and the last error, which ends the run when it is ``over``.

    A step is a :class:`mtd_ray.distill.numbers.metrics.StepMetrics` as a mapping.
    """

    def __init__(self) -> None:
        self._metrics: dict[str, Any] | None = None
        self._error: MtdError | None = None
        self._over = False

    def begin(self) -> None:
        """Another attempt begins: an earlier one's error is history, unless it has ended the run."""
        if not self._over:
            self._error = None

    def show(self, metrics: dict[str, Any]) -> None:
        """A step was logged."""
        self._metrics = metrics

    def fail(self, error: MtdError, over: bool) -> None:
        """A worker ends with an error; ``over`` when trying again would only bring it again. That one is not replaced any more."""
        if not self._over:
            self._error, self._over = error, over

    def metrics(self) -> dict[str, Any] | None:
        """The last logged step."""
        return self._metrics

    def is_over(self) -> bool:
        """Whether an error has ended the run."""
        return self._over

    def ending(self) -> tuple[MtdError | None, bool]:
        """The last error, and whether it has ended the run."""
        return self._error, self._over
