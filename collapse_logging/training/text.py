"""A text VAE (Bowman et al. 2016) on the text that ships with Python, and its data."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from ..arguments import require_number
from .data import START, UNKNOWN, VOCABULARY, sentences
from .vae import Posterior

_HELD_OUT = 450


class TextEncoder(nn.Module):
    """An LSTM whose outputs are averaged over the words, and the posterior's two heads."""

    def __init__(self, words: nn.Embedding, hidden: int, units: int) -> None:
        super().__init__()
        self.words = words
        self.body = nn.LSTM(words.embedding_dim, hidden, batch_first=True)
        self.posterior = Posterior(hidden, units)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Words ``[batch, length]`` to ``(mean, log_variance)``, each ``[batch, units]``."""
        states, _ = self.body(self.words(x))
        return self.posterior(states.mean(1))  # type: ignore[no-any-return]


class TextDecoder(nn.Module):
    """An LSTM that begins with z and predicts each word from those before it."""

    def __init__(self, words: nn.Embedding, hidden: int, units: int) -> None:
        super().__init__()
        self.words = words
        self.start = nn.Linear(units, hidden)
        self.body = nn.LSTM(words.embedding_dim, hidden, batch_first=True)
        self.out = nn.Linear(hidden, words.num_embeddings)

    def forward(self, z: Tensor, before: Tensor) -> Tensor:
        """Logits ``[batch, length, words]``; ``before`` is each word's predecessor."""
        start = self.start(z).unsqueeze(0)
        states, _ = self.body(self.words(before), (start.tanh(), start))
        return self.out(states)  # type: ignore[no-any-return]


class TextVAE(pl.LightningModule):
    """An LSTM VAE over ten words. Its decoder is strong: with ``beta=1`` it collapses.

    Args:
        hidden: width of both LSTMs.
        units: of the latent.
        beta: weight of the KL.
        word_dropout: share of the words that the decoder does not see.
        learning_rate: Adam's.

    Raises:
        TypeError, ValueError: a weight below 0, a share that is none.
    """

    def __init__(
        self,
        hidden: int = 48,
        units: int = 8,
        beta: float = 0.2,
        word_dropout: float = 0.5,
        learning_rate: float = 3e-3,
    ) -> None:
        super().__init__()
        require_number("beta", beta)
        require_number("word_dropout", word_dropout, most=1.0)
        self.save_hyperparameters()
        words = nn.Embedding(VOCABULARY, 32)
        self.encoder = TextEncoder(words, hidden, units)
        self.decoder = TextDecoder(words, hidden, units)
        self.beta = beta
        self.word_dropout = word_dropout
        self.learning_rate = learning_rate

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction loss and KL of each sentence in nats, ``[batch]``, summed over words."""
        mean, log_variance = self.encoder(x)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        before = F.pad(x[:, :-1], (1, 0), value=START)
        if self.training and self.word_dropout:
            hidden = torch.rand(before.shape, device=before.device) < self.word_dropout
            before = torch.where(hidden, UNKNOWN, before)
        logits = self.decoder(z, before).transpose(1, 2)
        reconstruction = F.cross_entropy(logits, x, reduction="none").sum(1)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1)
        return reconstruction, kl

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """The loss of a batch ``[batch, length]`` in nats a sentence; logs it and its parts."""
        return self._step(batch[0], "train")

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """The same on sentences that are not trained on."""
        return self._step(batch[0], "valid")

    def _step(self, x: Tensor, split: str) -> Tensor:
        reconstruction, kl = (by_sentence.mean() for by_sentence in self(x))
        loss = reconstruction + self.beta * kl
        self.log_dict({f"{split}_recon": reconstruction, f"{split}_kl": kl})
        self.log(f"{split}_loss", loss, prog_bar=split == "train")
        return loss  # type: ignore[no-any-return]

    def configure_optimizers(self) -> Any:
        """Adam."""
        return torch.optim.Adam(self.parameters(), self.learning_rate)


class Text(pl.LightningDataModule):
    """Ten words at a time from the help topics of Python, ``[rows, 10]``.

    Args:
        batch_size: sentences a batch.
    """

    def __init__(self, batch_size: int = 32) -> None:
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled every epoch."""
        rows = TensorDataset(sentences()[:-_HELD_OUT])
        return DataLoader(rows, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """The same 450 rows always."""
        return DataLoader(TensorDataset(sentences()[-_HELD_OUT:]), _HELD_OUT)
