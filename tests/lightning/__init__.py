"""The callback under real Trainers; both namespaces are there before the callback is imported."""

import lightning.pytorch  # noqa: F401 - see above
import pytorch_lightning  # noqa: F401
