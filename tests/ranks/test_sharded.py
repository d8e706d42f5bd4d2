"""The callback under Lightning's FSDP2 strategy: two processes, gloo on the CPU.

Lightning's older ``FSDPStrategy`` refuses any accelerator but a GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from torch.distributed.fsdp import fully_shard

from collapse_logging import Level

from ..lightning.parts import Core, model
from .processes import on_ranks
from .test_lightning import RANKS, Reports, data, ddp, detector


class Sharded(Core):
    """Each rank holds half of the parameters."""

    def configure_model(self) -> None:
        """Lightning calls it when the processes are there, and again in each stage."""
        if isinstance(next(self.vae.parameters()), torch.distributed.tensor.DTensor):
            return
        mesh = self.device_mesh["data_parallel"]
        fully_shard(self.vae.encoder, mesh=mesh)
        fully_shard(self.vae, mesh=mesh)


def collapsing(rank: int, folder: Path, whole: bool) -> Any:
    """Beta jumps at step 60; the run stops at the second red check."""
    callback = detector(
        check_frequency=5, log_dir=str(folder / "logs"), stop_on_collapse=True,
        early_stop_patience=2,
    )  # fmt: skip
    seen = Reports(callback)
    strategy = ModelParallelStrategy(
        data_parallel_size=RANKS, tensor_parallel_size=1, save_distributed_checkpoint=not whole
    )
    fit = ddp(rank, folder, callback, seen, max_steps=300, strategy=strategy)
    one = model(pl, Sharded, collapse_at=60, learning_rate=1e-2)
    fit.fit(one, data())
    return fit.global_step, [(report.step, report.level) for report in seen.reports]


@pytest.mark.parametrize("whole", [True, False])
def test_a_collapse_stops_all_ranks_of_a_sharded_model(tmp_path: Path, whole: bool) -> None:
    """At the same step, with one checkpoint from before it, whole or a folder of shards."""
    (first, told), (second, _) = on_ranks(collapsing, RANKS, tmp_path, tmp_path, whole)
    assert not isinstance(first, str), first
    assert first == second
    red = [step for step, level in first[1] if level is Level.RED]
    assert len(red) == 2
    assert first[0] == red[-1] + 1
    logs = tmp_path / "logs"
    (before,) = logs.glob("model_before_collapse_step_*.ckpt")
    assert int(before.stem.rsplit("_", 1)[1]) < 60
    assert before.is_file() == whole
    assert [p.name for p in logs.glob("model_at*")] == [f"model_at_alarm_step_{red[0]}.ckpt"]
    assert len(list(logs.glob("*.ckpt"))) == 2
    assert not [message for message in told if "failed" in message]
