"""For all tests: wandb never goes online, whoever starts it first in this process."""

import os

os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
