"""What a run shows people: the report, and the numbers in it."""

from mtd_ray.report.data import ReportData
from mtd_ray.report.table import format_table
from mtd_ray.report.write import write_report

__all__ = ["ReportData", "format_table", "write_report"]
