"""An experiment in as many processes as are started; the result is that of one, within rounding.

    torchrun --standalone --nproc_per_node 2 examples/two_processes.py
    accelerate launch --multi_gpu --num_processes 2 examples/two_processes.py

Both also work on a machine without GPUs; there, `accelerate launch --cpu` starts a single process
unless it is given MPI. Run with `python`, the same file trains in one process. Batch sizes count
the rows of all processes together, so nothing in the file changes with their number.
"""

import os

import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier

import attar

torch.set_num_threads(1)  # each process has a core to itself
pixels, labels = load_digits(return_X_y=True)
labels[450:] = attar.UNLABELLED  # the teacher alone says something about these

experiment = attar.distill(
    ExtraTreesClassifier(100, random_state=0),  # asked once, by the first process alone
    attar.students.mlp,
    train=(pixels / 16, labels),
    parameters=5000,
    seeds=2,
    steps=300,
    temperature=1.0,
    learning_rate=3e-3,
    smoothing=[0.1],
    latency_seconds=0,
)
if int(os.environ.get("RANK", "0")) == 0:  # all processes have the same result
    print(experiment.table())
