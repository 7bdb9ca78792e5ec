"""Forest, logistic regression and networks, distilled into one small network, exported, used.

    python examples/ensemble_to_one.py [folder]

Of the handwritten digits that scikit-learn ships, 150 of 898 training rows have a label.
"""

import sys
import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import attar
from attar.data import ArrayData, split
from attar.export import runtime
from attar.students import mlp
from attar.teachers import EnsembleTeacher, cross_fit

pixels, digits = load_digits(return_X_y=True)
data = ArrayData(torch.tensor(pixels, dtype=torch.float32), torch.tensor(digits))
# Split before anything is fitted: no member may see a label of validation or test.
train, validation, test = split(data, (0.5, 0.1, 0.4))
known, _ = split(train, (150 / len(train), 1 - 150 / len(train)))
labelled = torch.isin(train.rows, known.rows)
train = train.with_labels(torch.where(labelled, train.labels, attar.UNLABELLED))

# A forest knows the rows that it was fitted on by heart: asked about them, it repeats their
# labels, and nothing is left to distil. `distill` sees to that for a single estimator, which it
# may clone; members of an ensemble are taken at their word. So each is cross-fitted: a labelled
# row is answered by a clone that did not see its label, any other row by the one fitted on all.
regression = make_pipeline(MinMaxScaler(), LogisticRegression())
members = [
    cross_fit(ExtraTreesClassifier(100, random_state=0), train),
    cross_fit(regression, train),
    attar.train_ensemble(train, mlp, width=128, members=3, steps=150),  # cross-fits itself
]
teacher = EnsembleTeacher(members, name="forest, regression, networks")

splits = {"train": train, "validation": validation, "test": test}
# The mean of unlike members is soft already, so a low temperature is enough.
recipe = {"temperature": 2.0, "smoothing": [0.1], "steps": 400, "learning_rate": 1e-2}
result = attar.distill(teacher, mlp, **splits, parameters=3000, **recipe, latency_seconds=0.1)
print(f"{result.table()}\n\n{result.verdict}: {result.comparison.reason}\n")

with tempfile.TemporaryDirectory() as scratch:
    file = result.export(Path(sys.argv[1] if sys.argv[1:] else scratch) / "digits.onnx").path
    shipped = runtime.load(file)  # needs numpy and onnxruntime alone
    print(f"{file.name}, {file.stat().st_size:,} bytes, reads", *shipped.predict(pixels[:10]))
    print("and the labels are".ljust(35), *digits[:10])
