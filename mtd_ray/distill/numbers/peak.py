"""How many floating-point operations a device can do in a second."""

from __future__ import annotations

import torch

# Words of the device's name, then operations a second on dense matrices with 16-bit numbers (tensor cores, without sparsity) and
# with float32 (without TF32, as PyTorch computes by default), from NVIDIA's data sheets. The first that fits counts.
_PEAKS = (
    ({"H200", "NVL"}, 835e12, 60e12),
    ({"H200"}, 989e12, 67e12),
    ({"GH200"}, 989e12, 67e12),
    ({"H100", "PCIe"}, 756e12, 51e12),
    ({"H100", "NVL"}, 835e12, 60e12),
    ({"H100"}, 989e12, 67e12),
    ({"A100"}, 312e12, 19.5e12),
    ({"L40S"}, 362e12, 91.6e12),
    ({"L4"}, 121e12, 30.3e12),
    ({"A10G"}, 70e12, 35e12),
    ({"A10"}, 125e12, 31.2e12),
)


def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """Operations a second of a device on dense matrices of ``dtype``; None where it is not known, as on a CPU."""
    if device.type != "cuda":
        return None
    return peak_of(torch.cuda.get_device_name(device), dtype)


def peak_of(name: str, dtype: torch.dtype) -> float | None:
    """The same by the device's name, such as ``NVIDIA H100 80GB HBM3``. A slice of a device (MIG) has no data sheet."""
    words = set(name.replace("-", " ").split())
    fitting = [(half, single) for wanted, half, single in _PEAKS if wanted <= words and "MIG" not in words]
    if not fitting:
        return None
    half, single = fitting[0]
    return {torch.bfloat16: half, torch.float16: half, torch.float32: single}.get(dtype)
