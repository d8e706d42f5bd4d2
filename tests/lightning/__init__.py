"""The callback under real Trainers; both namespaces are there before the callback is imported."""

import lightning.pytorch
import pytorch_lightning  # noqa: F401 - see above
