"""Training: epochs over an augmented data set, validation at label resolution, checkpoints, exact resume."""

import copy
import json
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from roadseg.config import InferConfig, TrainConfig
from roadseg.dataset.segmentation import require_good_labels
from roadseg.documents import to_json
from roadseg.engine.comparison import write_comparison
from roadseg.engine.device import half_precision
from roadseg.engine.distributed import ALONE, Group, own_device
from roadseg.engine.evaluate import Evaluation, scores_document, write_evaluation
from roadseg.engine.gradients import Gradients
from roadseg.engine.heap import keep_freed_memory
from roadseg.engine.initial import initial_model, teacher_model
from roadseg.engine.listener import TrainListener, TrainResult
from roadseg.engine.loading import Batches
from roadseg.engine.optim import Schedule, make_average, make_optimizer
from roadseg.engine.predict import Predictor
from roadseg.engine.sources import Source, evenly, primary_score
from roadseg.engine.steps import StepGuard, batches, deterministic
from roadseg.engine.tensorboard import Board, require_tensorboard
from roadseg.engine.validation import validate
from roadseg.errors import CheckpointError, ConfigError
from roadseg.labels import get_scheme
from roadseg.media.output import write_text
from roadseg.model.checkpoint import Checkpoint, save_checkpoint
from roadseg.model.unet import RoadNet
from roadseg.report.curves import training_report, write_curves, write_results
from roadseg.report.html.training import VALIDATION, sheet_path

# Pictures that are drawn after each validation, spread evenly over the validation set.
SHOWN = 6


class Trainer:
    """One run in one folder: `last.pt`, `best.pt`, `results.csv`, `report.json`, `curves.png`, `samples/`,
    `val/`."""

    def __init__(
        self,
        config: TrainConfig,
        sources: Sequence[Source],
        folder: Path,
        listener: TrainListener | None = None,
        *,
        start: Checkpoint | None = None,
        restored: Checkpoint | None = None,
        group: Group = ALONE,
    ) -> None:
        """`start` gives network and classes, in place of the files that `config` names. So does `restored`,
        the `last.pt` of a run to go on with. group: who else trains; its rank 0 writes the folder."""
        self.config, self.sources, self.folder, self.group = config, sources, folder, group
        self.listener = listener or TrainListener()
        self.device = own_device(config.device)
        if config.tensorboard:
            require_tensorboard()
        given = restored or start
        self.scheme = given.scheme if given else get_scheme(config.classes)
        if config.class_weights and len(config.class_weights) != self.scheme.num_classes:
            raise ConfigError(
                f"class_weights has {len(config.class_weights)} values, but {self.scheme.name} has "
                f"{self.scheme.num_classes} classes: {', '.join(self.scheme.classes)}. Give "
                "one for each by --class-weights (those of a --recipe are for its own classes)."
            )
        torch.manual_seed(config.seed)
        model = copy.deepcopy(given.model) if given else initial_model(config, self.scheme)
        self.model: RoadNet = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = make_average(self.model, config.ema)
        self.optimizer = make_optimizer(self.model, config)
        dtype = half_precision(self.device, config.amp)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=dtype == torch.float16)
        samples = [sample for source in sources for sample in source.train]
        self.batches = Batches(samples, self.scheme, config, group, self.device)
        self.dataset = self.batches.dataset
        self.schedule = Schedule(self.optimizer, config, len(self.batches))
        self.history: list[dict[str, Any]] = []
        self.validation: dict[str, Evaluation] = {}
        """The last one of each data set."""
        if restored:
            self._restore(restored)
        self.kept = len(self.history)
        """Epochs that `last.pt` holds."""
        teacher = teacher_model(config, self.scheme, self.device)
        tell = self.listener.message
        self.gradients = Gradients(self.model, teacher, config, group, self.scaler, dtype, tell)

    def run(self) -> TrainResult:
        """Train until the epochs are done or the score stops growing."""
        if self.device.type == "cpu":
            keep_freed_memory()
        self.listener.starting(self.config.epochs)
        unread = [] if self.config.cache != "none" else self.dataset.samples  # a cache reads them anyway
        unread = unread + [sample for source in self.sources for sample in source.val]
        tell = self.listener.message
        require_good_labels(unread[self.group.rank :: self.group.size], self.scheme, self.listener.checking)
        self._fill_cache()
        if self.group.writes:
            write_text(self.folder / "config.json", json.dumps(self.config.to_dict(), indent=2) + "\n")
        logged = self.config.tensorboard and self.group.writes
        with (
            deterministic(self.config.deterministic, self.device, tell),
            Board(self.folder, len(self.history)) if logged else nullcontext() as board,
        ):
            self._train(board)
        report = self._report(finished=True)
        if self.group.writes:
            write_text(self.folder / "report.json", to_json(report))
        return TrainResult(
            self.folder,
            len(self.history),
            self.best_epoch,
            self.best_score,
            len(self.history) < self.config.epochs,
            max(self._validated(), key=lambda row: float(row["score"]), default={}),
            str(self.device),
            len(self.dataset),
            self.sources,
            report,
        )

    def _fill_cache(self) -> None:
        """A cache on disk is written by one process, and found there by the others."""
        for writing in (True, False):
            if self.group.writes == writing:
                self.dataset.fill_cache(
                    self.config.cache,
                    self.folder.parent / "cache",
                    self.listener.caching,
                    self.listener.message,
                )
            if self.config.cache == "disk":
                self.group.agree(None)

    def _train(self, board: Board | None) -> None:
        started = time.perf_counter()
        while len(self.history) < self.config.epochs and not self._stalled():
            epoch = len(self.history) + 1
            loss, lr, skipped = self._train_epoch(epoch)
            row: dict[str, Any] = {"epoch": epoch, "lr": lr, "loss": loss, "score": None, "skipped": skipped}
            best = False
            if epoch % self.config.val_every == 0 or epoch == self.config.epochs:
                before = self.best_score
                row.update(self._validate(epoch))
                best = row["score"] > before
                self.schedule.validated(row["score"])
            row["seconds"] = round(time.perf_counter() - started, 1)
            started = time.perf_counter()
            self.history.append(self.group.agree(row))
            if self.group.writes:
                self._save(best)
            self.kept = epoch
            if board:
                board.epoch(row, self._sheet(epoch))
            self.listener.epoch(row, best)

    @property
    def best_score(self) -> float:
        return max((row["score"] for row in self._validated()), default=-math.inf)

    @property
    def best_epoch(self) -> int:
        best = max(self._validated(), key=lambda row: float(row["score"]), default={"epoch": 0})
        return int(best["epoch"])

    def _validated(self) -> list[dict[str, Any]]:
        return [row for row in self.history if row["score"] is not None]

    def _stalled(self) -> bool:
        since = sum(row["epoch"] > self.best_epoch for row in self._validated())
        return bool(0 < self.config.patience <= since)

    def _train_epoch(self, epoch: int) -> tuple[float, float, int]:
        """Return the mean loss of the epoch, its last learning rate, and how many steps were left out."""
        self.model.train()
        total = torch.zeros((), device=self.device)
        guard, lr = StepGuard(self.model, self.config.max_bad_steps), 0.0
        steps = len(self.batches)
        for step, parts in enumerate(batches(self.batches.steps(epoch)), 1):
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.gradients.add(parts)
            self.scaler.unscale_(self.optimizer)
            most = self.config.clip_grad or math.inf
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), most)
            if guard.passes(loss, norm):
                lr = self.optimizer.param_groups[0]["lr"]
                self.scaler.step(self.optimizer)
                self.schedule.step()
                if self.average:
                    self.average.update_parameters(self.model)
                total += loss
            self.scaler.update()
            if step % 10 == 0 or step == steps:
                mean = total.item() / max(1, step - guard.skipped)
                self.listener.step(epoch, step, steps, mean, lr)
        if left_out := guard.end(steps):
            self.listener.message(f"Epoch {epoch}: {left_out}")
        return mean, lr, guard.skipped

    def _evaluated_model(self) -> RoadNet:
        """Return the weights that count: the running average if there is one."""
        return self.average.module if self.average else self.model  # type: ignore[return-value]

    def _checkpoint(self, scores: dict[str, Any]) -> Checkpoint:
        return Checkpoint(
            model=self._evaluated_model(),
            scheme=self.scheme,
            imgsz=self.config.imgsz,
            scores=scores,
            recipe=self.config.to_dict(),
        )

    def _validate(self, epoch: int) -> dict[str, float]:
        infer = InferConfig(device=str(self.device), batch_size=self.config.batch_size, amp=self.config.amp)
        self.group.share_buffers(self._evaluated_model())
        predictor = Predictor(self._checkpoint({}), infer)
        row: dict[str, float] = {}
        for source in self.sources:
            done = validate(
                self.group,
                predictor,
                source.val,
                self.scheme,
                batch_size=self.config.batch_size,
                workers=self.config.workers,
                progress=self.listener.validating,
            )
            self.validation[source.name] = done
            row[f"{source.name}_{self._score_name}"] = primary_score(done.scores, self.scheme)
            row[f"{source.name}_pixel_accuracy"] = done.scores.pixel_accuracy
        names = [f"{source.name}_{self._score_name}" for source in self.sources]
        row["score"] = sum(row[name] for name in names) / len(names)
        every = [sample for source in self.sources for sample in source.val]
        if self.group.writes:
            write_comparison(self._sheet(epoch), predictor.predict, evenly(every, SHOWN), self.scheme)
        return row

    def _sheet(self, epoch: int) -> Path:
        return sheet_path(self.folder, epoch)

    def _report(self, finished: bool) -> dict[str, Any]:
        return training_report(self.config.to_dict(), self.scheme, self.folder, self.history, finished)

    @property
    def _score_name(self) -> str:
        return "road_iou" if self.scheme.num_classes == 2 else "miou"

    def _save(self, best: bool) -> None:
        write_results(self.folder / "results.csv", self.history)
        write_curves(self.folder / "curves.png", self.history)
        write_text(self.folder / "report.json", to_json(self._report(finished=False)))
        validated = self._validated()
        checkpoint = self._checkpoint(dict(validated[-1]) if validated else {})
        if best:
            for name, evaluation in self.validation.items():
                document = scores_document(evaluation, {"epoch": len(self.history)})
                write_evaluation(evaluation, self.folder / VALIDATION / name, document)
            save_checkpoint(checkpoint, self.folder / "best.pt", keep_previous=True)
        checkpoint.training = {
            "model": self.model.state_dict(),
            "average_steps": int(self.average.n_averaged) if self.average else 0,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "history": self.history,
        }
        save_checkpoint(checkpoint, self.folder / "last.pt", keep_previous=True)

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Take over the state of `last.pt`: the run goes on as if it had never stopped."""
        state = checkpoint.training
        if state is None:
            raise CheckpointError(
                f"{checkpoint.source}: holds weights, but no state of a training. Resume from last.pt, or "
                "start a new run from these weights with --weights."
            )
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.module.load_state_dict(checkpoint.model.state_dict())
            self.average.n_averaged.fill_(state["average_steps"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["fused"] = True  # which runs of older versions were not; a GradScaler relies on it
        self.history = copy.deepcopy(state["history"])
        self.schedule.load_state_dict(state["schedule"], len(self.history))
        self.scaler.load_state_dict(state["scaler"])
