"""A trained student as a folder that others load, its quantised variants, and where it is sent."""

from mtd_ray.export.folder import export_student, exported_dtype

__all__ = ["export_student", "exported_dtype"]
