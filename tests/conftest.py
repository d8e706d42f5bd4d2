"""For all tests: wandb never goes online, whoever starts it first; texts are in English."""

import os

os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
os.environ["LC_ALL"] = "C.UTF-8"
