"""Distillation in a plain PyTorch loop: of Attar it takes one function, `kl`.

Of 1,000 training digits 150 have labels. A large teacher learns these, and teaches a student.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from attar.losses import kl

torch.manual_seed(0)
pixels, labels = load_digits(return_X_y=True)
order = torch.randperm(len(pixels))
x, y = torch.tensor(pixels / 16, dtype=torch.float32)[order], torch.tensor(labels)[order]


def mlp(width, dropout):
    layers = nn.Linear(64, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 10)
    return nn.Sequential(*layers)


def fit(name, model, rows, loss_of):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(800):
        batch = torch.randint(rows, (128,))
        loss_of(model(x[batch]), batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    right = model.eval()(x[1000:]).argmax(1) == y[1000:]
    print(f"{name:8} {sum(p.numel() for p in model.parameters()):7,} {right.float().mean():.1%}")
    return model


teacher = fit("teacher", mlp(512, 0.5), 150, lambda student, rows: cross_entropy(student, y[rows]))
targets = teacher(x).detach()  # (1797, 10) logits, asked once
fit("alone", mlp(16, 0.0), 150, lambda student, rows: cross_entropy(student, y[rows]))
fit("taught", mlp(16, 0.0), 1000, lambda s, rows: kl(s, targets[rows], temperature=4.0).mean())
