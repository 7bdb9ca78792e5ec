"""A loss of your own: a function from student and teacher logits to one number a row.

Nothing to register and nothing to inherit: hand it to `soft`, and `Objective` does the rest
(the weights, the mean over rows, the hard term for labelled rows only, the parts for a log).
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from attar.losses import Objective, hard, kl, soft
from attar.types import UNLABELLED, Batch, Outputs


def angle(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine of the centred logits, (N,): the order and spacing of classes, not their size."""
    student = student - student.mean(dim=1, keepdim=True)  # (N, C)
    teacher = teacher - teacher.mean(dim=1, keepdim=True)
    return 1 - torch.cosine_similarity(student, teacher, dim=1)


def mlp(width: int, dropout: float = 0.0) -> nn.Module:
    layers = nn.Linear(64, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 10)
    return nn.Sequential(*layers)


def fit(model: nn.Module, objective: Objective, rows: int, targets: Tensor | None) -> str:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(600):
        ids = torch.randint(rows, (128,))
        batch = Batch(x[ids], ids, known[ids])
        teacher = None if targets is None else Outputs(targets[ids])
        loss, parts = objective(Outputs(model(batch.inputs)), teacher, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    right = model.eval()(x[1000:]).argmax(dim=1) == y[1000:]
    means = ", ".join(f"{name} {float(part.mean):.3f}" for name, part in parts.items())
    return f"{right.float().mean():.1%} (last batch: {means})"


torch.manual_seed(0)
pixels, labels = load_digits(return_X_y=True)
order = torch.randperm(len(pixels))
x, y = torch.tensor(pixels / 16, dtype=torch.float32)[order], torch.tensor(labels)[order]
known = y.clone()
known[150:] = UNLABELLED  # of 1,000 training rows 150 have labels

large = mlp(512, dropout=0.5)
print("teacher   ", fit(large, Objective([hard(1.0)]), 150, None))
targets = large(x).detach()  # asked once
print("hard      ", fit(mlp(16), Objective([hard(1.0)]), 150, None))
print(
    "hard + kl ",
    fit(mlp(16), Objective([hard(0.1), soft(kl, 0.9, temperature=4.0)]), 1000, targets),
)
print("hard + own", fit(mlp(16), Objective([hard(0.1), soft(angle, 1.0)]), 1000, targets))
