"""Workers that share a batch compute the losses and gradients of one worker that has it all, and see each other's targets."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from mtd_ray.distill.gather import exchange_rows, gather_rows, largest

SHARES = {
    2: [np.array([4, 0]), np.array([1, 3, 2])],
    3: [np.array([4, 0]), np.array([], dtype=np.int64), np.array([1, 3, 2])],
}


def model() -> tuple[nn.Linear, nn.Linear]:
    torch.manual_seed(0)
    return nn.Linear(3, 4), nn.Linear(4, 2)


def loss_of(pooled: Tensor, head: nn.Linear) -> Tensor:
    output = head(pooled)
    return ((output @ output.T) * torch.arange(25).reshape(5, 5)).mean()


def inputs() -> Tensor:
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(1))


def targets() -> list[Tensor]:
    """Of every type that is sent: vectors, and which of them there are."""
    vectors = torch.randn(5, 7, generator=torch.Generator().manual_seed(2)).half()
    vectors[1, 0] = torch.nan
    return [vectors, torch.tensor([[True, False], [False, False], [True, True], [False, True], [True, False]])]


def worker(rank: int, folder: str, workers: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=workers)
    shares = SHARES[workers]
    owners = [np.sort(share) for share in shares]
    backbone, head = model()
    gathered = gather_rows(backbone(inputs()[shares[rank]]), shares)
    loss = loss_of(gathered, head)
    loss.backward()
    gradients = [parameter.grad for layer in (backbone, head) for parameter in layer.parameters()]
    for gradient in gradients:
        dist.all_reduce(gradient)
    result = {
        "loss": loss.detach(),
        "gradients": [gradient / workers for gradient in gradients],
        "largest": largest(10 * rank, torch.device("cpu")),
        "targets": [exchange_rows(rows[owners[rank]], owners) for rows in targets()],
    }
    torch.save(result, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=SHARES)
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    workers: int = request.param
    folder: Path = tmp_path_factory.mktemp("workers")
    mp.spawn(worker, (str(folder), workers), nprocs=workers)
    return [torch.load(folder / f"{rank}.pt") for rank in range(workers)]


def test_loss_and_mean_gradient_are_those_of_a_single_process(results: list[dict]) -> None:
    backbone, head = model()
    loss = loss_of(backbone(inputs()), head)
    loss.backward()
    expected = [parameter.grad for layer in (backbone, head) for parameter in layer.parameters()]
    for result in results:
        torch.testing.assert_close(result["loss"], loss.detach())
        torch.testing.assert_close(result["gradients"], expected)
        assert result["largest"] == 10 * (len(results) - 1)


def test_what_one_worker_has_read_reaches_all_in_batch_order_bit_by_bit(results: list[dict]) -> None:
    for result in results:
        for got, expected in zip(result["targets"], targets(), strict=True):
            assert got.dtype == expected.dtype
            assert torch.equal(got.view(torch.uint8), expected.view(torch.uint8))


def test_a_single_worker_gets_its_rows_back_in_batch_order() -> None:
    rows = torch.arange(6.0).reshape(3, 2)
    assert torch.equal(gather_rows(rows, [np.array([2, 0, 1])]), rows[[1, 2, 0]])
    assert exchange_rows(rows, [np.arange(3)]) is rows
