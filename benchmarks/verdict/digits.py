"""How alike the errors of two arms really are: measured on handwritten digits.

A simulation is only as honest as its correlations. This trains the arms of the experiment on
scikit-learn's digits (150 labels, the other training rows unlabelled, 40 % kept for the test)
with plain PyTorch, nothing of Attar, and returns who was right on which row.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS = 1500
BATCH = 128
TEMPERATURE = 4.0


def tables(draw: int, *, seeds: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Correctness of every arm ``[S, R]`` and of the teacher ``[R]`` for one draw of labels."""
    x, y, test_x, test_y, labelled = _digits(draw)
    teacher = [_fit(_wide(), x[labelled], y[labelled], 100 * draw + k, shift=1) for k in range(5)]
    soft = _mean_probability(teacher, x)
    hard = F.one_hot(y[labelled], 10).float()
    guess = F.one_hot(soft.argmax(1), 10).float()
    guess[labelled] = hard
    softened = torch.softmax(soft.log() / TEMPERATURE, 1)
    arms = {
        "hard": (x[labelled], hard, 1.0),
        "smoothed": (x[labelled], 0.9 * hard + 0.01, 1.0),
        "pseudo": (x, guess, 1.0),
        "distilled": (x, softened, TEMPERATURE),
    }
    correct: dict[str, np.ndarray] = {}
    for arm, (rows, targets, temperature) in arms.items():
        right = []
        for seed in range(seeds):
            torch.manual_seed(1000 + seed)
            student = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
            student = _fit(student, rows, targets, seed, temperature=temperature)
            with torch.no_grad():
                right.append((student(test_x).argmax(1) == test_y).numpy())
        correct[arm] = np.stack(right)
    return correct, (_mean_probability(teacher, test_x).argmax(1) == test_y).numpy()


def _digits(draw: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    x, test_x, y, test_y = train_test_split(
        images.astype("float32") / 16, labels, test_size=0.4, stratify=labels, random_state=0
    )
    labelled, _ = train_test_split(np.arange(len(y)), train_size=150, stratify=y, random_state=draw)
    return (
        torch.tensor(x).view(-1, 1, 8, 8),
        torch.tensor(y),
        torch.tensor(test_x).view(-1, 1, 8, 8),
        torch.tensor(test_y),
        torch.tensor(labelled),
    )


def _wide() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )


def _fit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    seed: int,
    *,
    temperature: float = 1.0,
    shift: int = 0,
) -> nn.Module:
    """Train on class numbers or on probabilities ``[N, C]`` at this temperature."""
    torch.manual_seed(seed)
    steps = STEPS // 3 if shift else STEPS
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        index = torch.randint(len(x), (BATCH,), generator=generator)
        inputs = x[index]
        if shift:
            move = torch.randint(-shift, shift + 1, (2,), generator=generator).tolist()
            inputs = torch.roll(inputs, move, dims=(2, 3))
        loss = F.cross_entropy(model(inputs) / temperature, y[index]) * temperature**2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def _mean_probability(models: list[nn.Module], x: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.stack([model(x).softmax(1) for model in models]).mean(0)
