"""How good the student is, beside its teachers and its own beginning."""

from mtd_ray.evaluate.report import format_table, write_report
from mtd_ray.evaluate.results import Results, Row, assert_student_improved
from mtd_ray.evaluate.runner import evaluate

__all__ = ["Results", "Row", "assert_student_improved", "evaluate", "format_table", "write_report"]
