"""What a model is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mtd_ray.objects import ObjectStore

Type = str
"""A type of task as mteb names it: ``Retrieval``, ``STS``, ``Classification``, …"""


class Task(Protocol):
    """One task: light to hold and to send; mteb and the data come with :meth:`open`.

    Attributes:
        name: unique in an evaluation; fit for a key.
        type: mteb's name of its type.
        identity: digest, or revision, of everything that decides its scores besides the model: its data, and mteb's version where
            mteb decides.
        parts: the tasks whose mean it is; none for a single one.
        from_hub: whether all of its data is what mteb names on the hub, so that others can get the same scores.
    """

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> Type: ...
    @property
    def identity(self) -> str: ...
    @property
    def parts(self) -> Sequence[Task]: ...
    @property
    def from_hub(self) -> bool: ...

    def open(self, store: ObjectStore) -> Any:
        """The ``mteb.AbsTask`` with its data loaded, so that ``mteb.evaluate`` needs no hub.

        Raises:
            EvaluationError: the data is not there, or not what the type needs; says which file or column.
        """
        ...
