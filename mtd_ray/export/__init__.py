"""A trained student as a folder that others load. Its 8-bit variants and where it is sent are modules of their own."""

from mtd_ray.export.folder import export_student, exported_dtype

__all__ = ["export_student", "exported_dtype"]
