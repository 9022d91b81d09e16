"""The tasks that models are measured on."""

from mtd_ray.evaluate.tasks.chosen import check_tasks, named_tasks, own_tasks, tasks_of
from mtd_ray.evaluate.tasks.named import NamedTask
from mtd_ray.evaluate.tasks.own import OwnData
from mtd_ray.evaluate.tasks.pairs import PairsTask
from mtd_ray.evaluate.tasks.task import Task

__all__ = ["NamedTask", "OwnData", "PairsTask", "Task", "check_tasks", "named_tasks", "own_tasks", "tasks_of"]
