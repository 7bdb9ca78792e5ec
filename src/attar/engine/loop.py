"""The training loop: a generator of records, so that the caller's `for` replaces callbacks."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attar.checks import AttarError
from attar.data import Batches
from attar.engine import checkpoint as files
from attar.engine.distiller import Distiller
from attar.engine.processes import Processes, make_accelerator, seed_of
from attar.engine.records import NonFiniteLossError, Record, Tally, TrainConfig

#: Kinds of accelerate's runs in which each process holds all weights and whole gradients.
_PLAIN = ("NO", "MULTI_CPU", "MULTI_GPU")

#: What `train` calls on the student to judge it; the values of a validation set, by name.
Validate = Callable[[nn.Module], Mapping[str, float]]


def train(
    distiller: Distiller,
    batches: Batches,
    config: TrainConfig,
    *,
    validate: Validate | None = None,
    checkpoint: str | Path | None = None,
    accelerator: Any = None,
) -> Iterator[Record]:
    """Train the student in place; each record is yielded as it comes about.

    The run is a pure function of the student's weights, the batches and the config: with a
    ``checkpoint``, one that was killed at any moment and is started again with the same
    arguments yields the same records (but for the seconds) and ends with the same bits, on the
    same machine, versions and thread count.

    In several processes (``torchrun``, ``accelerate launch``) each trains on its share of every
    batch, and the student is that of one process within rounding, since the means of the losses
    run over all rows of the batch. Two things see a share alone: batch normalisation takes its
    statistics over it (on GPUs ``torch.nn.SyncBatchNorm`` does not), and dropout draws other
    masks. All processes give the same records and end with the same weights; the first one
    validates, and writes the checkpoint to a file that all can read.

    Args:
        distiller: Student, objective, teacher. The student's weights change.
        batches: Which rows each step sees.
        config: The numbers of the run.
        validate: Called on the student in eval mode; its values choose the best weights.
        checkpoint: A file to go on from where it exists, and to write to.
        accelerator: An ``accelerate.Accelerator`` that decides device, precision and processes;
            a plain one is made where none is given, so a launcher is obeyed.

    Yields:
        A :class:`Record` every ``log_every`` steps and at the end.

    Raises:
        NonFiniteLossError: If the loss is NaN or infinite, with the step and what to try.
        AttarError: If the checkpoint belongs to another run, or a batch has fewer rows than there
            are processes.

    Example:
        >>> from attar.data import ArrayData
        >>> from attar.losses import Objective, hard
        >>> data = ArrayData(torch.eye(4), torch.tensor([0, 1, 0, 1]))
        >>> student = torch.nn.Linear(4, 2)
        >>> config = TrainConfig(steps=100, learning_rate=0.1)
        >>> distiller = Distiller(student, Objective([hard(1.0)]))
        >>> for record in train(distiller, Batches(data, 4), config):
        ...     print(record.step, record.loss < 0.7)
        50 True
        100 True
    """
    run = _Run(distiller, batches, config, accelerator)
    if checkpoint is not None and run.processes.from_main(Path(checkpoint).exists()):
        run.load(Path(checkpoint))
        yield from run.history
    else:
        torch.manual_seed(seed_of(config.seed, run.processes.index))
    while run.step < config.steps and not run.stopped:
        tally = Tally()
        losses = [
            run.one_step(tally) for _ in range(min(config.log_every, config.steps - run.step))
        ]
        record = run.record(losses, tally)
        if validate is not None and run.validation_is_due():
            record = run.judge(record, validate)
        due = checkpoint is not None and run.checkpoint_is_due()
        run.history.append(record)
        if checkpoint is not None and due:
            run.save(Path(checkpoint))
        yield record
    run.finish()


@dataclass
class _Run:
    """The state of a run: everything that a checkpoint must hold."""

    distiller: Distiller
    batches: Batches
    config: TrainConfig
    accelerator: Any = None
    step: int = 0
    stopped: bool = False
    best: tuple[float, ...] | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    since_best: int = 0
    seconds: float = 0.0
    history: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.accelerator = self.accelerator or make_accelerator()
        self.device = self.accelerator.device
        self.processes = Processes(self.accelerator)
        if self.batches.batch_size < self.processes.count:
            raise AttarError(
                f"train: a batch of {self.batches.batch_size} rows cannot be shared by "
                f"{self.processes.count} processes; batch_size counts the rows of all of them."
            )
        self.student = self.distiller.student
        self.parameters = [p for p in self.student.parameters() if p.requires_grad]
        decayed = [p for p in self.parameters if p.ndim > 1]
        others = [p for p in self.parameters if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": self.config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self.student.to(self.device)
        optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=self.config.learning_rate, fused=True
        )
        # Only the module that computes is wrapped (several processes, precision); the student
        # itself keeps its own names, so that weights and checkpoints know nothing of wrappers.
        wrapped, prepared = self.accelerator.prepare(self.student, optimizer)
        # Accelerate's optimizer looks at every step what kind of run this is, for 100 microseconds;
        # where it would then only pass the call on, the optimizer itself is called.
        self.plain = _is_plain(self.accelerator)
        self.optimizer: Any = optimizer if self.plain else prepared
        self.prepared = Distiller(wrapped, self.distiller.objective, self.distiller.teacher)
        self.share = self.processes.mean if self.processes.count > 1 else None
        self.student.train()
        self._began = time.perf_counter()

    def one_step(self, tally: Tally) -> Tensor:
        """Forward, backward, update; gives the loss without waiting for it."""
        learning_rate = self.config.learning_rate_at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        processes = self.processes
        batch = self.batches.at(self.step, shard=processes.index, shards=processes.count)
        loss, parts = self.prepared.step(batch.to(self.device), share=self.share)
        if self.plain:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self.accelerator.backward(loss)
        self.gradient_norm = self._clip()
        self.optimizer.step()
        if self.plain:
            for parameter in self.parameters:
                parameter.grad = None  # zero_grad() also tells a profiler: 2 % of a small step
        else:
            self.optimizer.zero_grad()
        tally.add(parts)
        self.step += 1
        return loss.detach()

    def _clip(self) -> Tensor | None:
        """Scale the gradients down to the greatest norm that is allowed; gives their norm."""
        limit = self.config.max_gradient_norm
        if limit is None:
            return None
        if not self.plain:
            clipped: Tensor = self.accelerator.clip_grad_norm_(self.parameters, limit)
            return clipped
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        # The fused optimizer divides by this as it goes, which saves a pass over the gradients.
        self.optimizer.grad_scale = (norm / limit).clamp_(min=1.0)
        return norm

    def record(self, losses: list[Tensor], tally: Tally) -> Record:
        """Look at the steps since the last record: the one moment that waits for the device."""
        values = self.processes.mean(torch.stack(losses).float()).tolist()
        first = self.step - len(values)
        for i, value in enumerate(values):
            if not math.isfinite(value):
                raise NonFiniteLossError(
                    f"train: the loss is {value} at step {first + i + 1} (learning rate "
                    f"{self.config.learning_rate_at(first + i):.3g}; the last finite loss was "
                    f"{values[i - 1] if i else (self.history[-1].loss if self.history else None)}"
                    "). Try a lower learning_rate or max_gradient_norm, and look for NaN or huge "
                    "values in the inputs. The last checkpoint, if any, is from before this."
                )
        return Record(
            step=self.step,
            loss=math.fsum(values) / len(values),
            parts=tally.means(self.processes),
            learning_rate=self.config.learning_rate_at(self.step - 1),
            gradient_norm=None if self.gradient_norm is None else float(self.gradient_norm),
            seconds=self.seconds + time.perf_counter() - self._began,
        )

    def _passed(self, every: int | None) -> bool:
        """Whether a multiple of ``every`` lies in the steps since the last record."""
        before = self.history[-1].step if self.history else 0
        return every is not None and self.step // every > before // every

    def validation_is_due(self) -> bool:
        return self.step == self.config.steps or self._passed(self.config.evaluate_every)

    def judge(self, record: Record, validate: Validate) -> Record:
        """Validate; remember the weights if they are the best so far; decide on stopping."""
        self.student.eval()
        with torch.no_grad():
            found = self.processes.first(lambda: dict(validate(self.student)))
        self.student.train()
        # Sent, not found by each: processes that disagreed on the best would part ways.
        values = self.processes.from_main(found) or {}
        score = tuple(
            -values[name[1:]] if name.startswith("-") else values[name]
            for name in self.config.select
        )
        better = self.best is None or score > self.best
        if better:
            self.best, self.since_best = score, 0
            if self.config.keep_best:
                state = self.student.state_dict()
                self.best_weights = {name: t.detach().clone() for name, t in state.items()}
        else:
            self.since_best += 1
            patience = self.config.patience
            self.stopped = patience is not None and self.since_best >= patience
        return replace(record, validation=values, best=better)

    def checkpoint_is_due(self) -> bool:
        over = self.stopped or self.step == self.config.steps
        return over or self._passed(self.config.checkpoint_every)

    def finish(self) -> None:
        if self.best_weights:
            self.student.load_state_dict(self.best_weights)
        # Running statistics are of each process's own rows.
        self.processes.same_everywhere(list(self.student.buffers()))
        self.accelerator.unwrap_model(self.prepared.student, keep_fp32_wrapper=False)
        self.student.eval()

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must have in common with the run that goes on from it."""
        return {
            "config": {k: v for k, v in asdict(self.config).items() if k != "any_threads"},
            "batch_size": self.batches.batch_size,
            "order_seed": self.batches.seed,
            "data": self.batches.data.fingerprint(),
            "labels": _digest(self.batches.data.labels),
            "objective": [[t.name, t.weight] for t in self.distiller.objective.terms],
            "processes": self.processes.count,
        }

    def save(self, path: Path) -> None:
        self._refuse_broken_weights()
        random = self.processes.gather(files.random_tensors())
        if not self.processes.main:
            return
        scaler = self.accelerator.scaler
        tensors = {f"model/{name}": t for name, t in self.student.state_dict().items()}
        tensors |= {f"best/{name}": t for name, t in self.best_weights.items()}
        tensors |= files.optimizer_tensors(self.optimizer)
        for process, states in enumerate(random):
            tensors |= {_of(process) + name: state for name, state in states.items()}
        state = {
            "identity": self._identity(),
            "environment": files.environment(),
            "step": self.step,
            "stopped": self.stopped,
            "best": self.best,
            "since_best": self.since_best,
            "seconds": self.seconds + time.perf_counter() - self._began,
            "scaler": None if scaler is None else scaler.state_dict(),
            "history": [asdict(record) for record in self.history],
        }
        files.write(path, tensors, state)

    def _refuse_broken_weights(self) -> None:
        """A finite loss may come before the step that broke the weights: look at them too."""
        for name, value in self.student.state_dict().items():
            if not bool(torch.isfinite(value).all()):
                raise NonFiniteLossError(
                    f"train: the weights {name!r} are not finite after step {self.step} "
                    f"(learning rate {self.config.learning_rate_at(self.step - 1):.3g}). Try a "
                    "lower learning_rate or max_gradient_norm. The last checkpoint is kept."
                )

    def load(self, path: Path) -> None:
        tensors, state = files.read(path)
        ours = self._identity()
        # Through JSON, tuples come back as lists.
        theirs = state["identity"]
        theirs["config"]["select"] = tuple(theirs["config"]["select"])
        if ours != theirs:
            differing = [
                f"{key}: {theirs.get(key)!r} there, {ours[key]!r} here"
                for key in ours
                if theirs.get(key) != ours[key]
            ]
            raise AttarError(
                f"train: the checkpoint {path} belongs to another run ({'; '.join(differing)}). "
                "Use another file, or the arguments that it was started with."
            )
        if state["environment"] != files.environment() and not self.config.any_threads:
            raise AttarError(
                f"train: the checkpoint {path} was made with {state['environment']}, and here is "
                f"{files.environment()}: the run would not end with the same bits. Set the "
                "threads with torch.set_num_threads, or allow it with any_threads=True "
                "(--any-threads)."
            )
        try:
            self.student.load_state_dict(files.prefixed("model", tensors))
        except RuntimeError as error:
            raise AttarError(
                f"train: the checkpoint {path} is of another student ({error})."
            ) from error
        self.best_weights = files.prefixed("best", tensors)
        files.restore_optimizer(self.optimizer, tensors)
        if state["scaler"] is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.stopped = state["step"], state["stopped"]
        self.best = None if state["best"] is None else tuple(state["best"])
        self.since_best, self.seconds = state["since_best"], state["seconds"]
        self.history = [Record(**record) for record in state["history"]]
        own = _of(self.processes.index)
        files.restore_random(files.prefixed(own[:-1], tensors) if own else tensors)


def _of(process: int) -> str:
    """What the random states of a process are filed under; the first one's have no prefix."""
    return f"process{process}/" if process else ""


def _is_plain(accelerator: Any) -> bool:
    """Whether a step is the student's own: no loss is scaled, no weights or gradients sharded."""
    kind = accelerator.distributed_type.value
    on = accelerator.device.type
    return accelerator.scaler is None and kind in _PLAIN and on in ("cpu", "cuda")


def _digest(labels: Tensor | None) -> str | None:
    """The labels that a run learns from; the fingerprint of its data leaves them out."""
    if labels is None:
        return None
    return hashlib.blake2b(labels.cpu().numpy().tobytes(), digest_size=16).hexdigest()
