"""The recipe: its types, how a file becomes one, and how secrets are referred to."""

from mtd_ray.config.base import Kind, fingerprint
from mtd_ray.config.catalog import Catalog, ModelFacts, catalog, usd_per_token
from mtd_ray.config.evaluate import EvaluateConfig, ExportConfig, ExportDtype, Form, OwnTask, Requirements
from mtd_ray.config.load import load_recipe
from mtd_ray.config.nearest import nearest
from mtd_ray.config.preflight import check_secrets
from mtd_ray.config.recipe import HarvestConfig, Recipe, StorageConfig
from mtd_ray.config.secret import SecretRef, resolve_secret
from mtd_ray.config.sources import CorpusConfig, DocstringSource, HuggingFaceSource, JsonlSource, ParquetSource
from mtd_ray.config.stages import POINTWISE, HeadLosses, LastLayers, LayerRange, Progressive, StageConfig, Trainable
from mtd_ray.config.student import StudentConfig
from mtd_ray.config.teachers import (
    ApiTeacher,
    CohereTeacher,
    LocalTeacher,
    OpenAITeacher,
    QuotaConfig,
    Teacher,
    VoyageTeacher,
    WorkerRange,
    teacher_fingerprint,
)
from mtd_ray.config.train import TrainConfig

__all__ = [
    "POINTWISE",
    "ApiTeacher",
    "Catalog",
    "CohereTeacher",
    "CorpusConfig",
    "DocstringSource",
    "EvaluateConfig",
    "ExportConfig",
    "ExportDtype",
    "Form",
    "HarvestConfig",
    "HeadLosses",
    "HuggingFaceSource",
    "JsonlSource",
    "Kind",
    "LastLayers",
    "LayerRange",
    "LocalTeacher",
    "ModelFacts",
    "OpenAITeacher",
    "OwnTask",
    "ParquetSource",
    "Progressive",
    "QuotaConfig",
    "Recipe",
    "Requirements",
    "SecretRef",
    "StageConfig",
    "StorageConfig",
    "StudentConfig",
    "Teacher",
    "TrainConfig",
    "Trainable",
    "VoyageTeacher",
    "WorkerRange",
    "catalog",
    "check_secrets",
    "fingerprint",
    "load_recipe",
    "nearest",
    "resolve_secret",
    "teacher_fingerprint",
    "usd_per_token",
]
