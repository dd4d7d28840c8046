"""From pictures to masks, overlays and a report: what is to be done, its stages, and what is told of it."""

import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from roadseg.config import SegmentConfig
from roadseg.engine.pages import reopener
from roadseg.engine.predict import Predictor
from roadseg.engine.results import ResultWriter, TruthReader
from roadseg.engine.scoring import road_counts, score_run
from roadseg.engine.segment_plan import earlier_reports, plan
from roadseg.engine.segment_stages import Progress, Runner, run_tasks
from roadseg.errors import OutputError
from roadseg.media.crashes import Journal
from roadseg.media.images import ImageJob
from roadseg.media.overlay import display_colors
from roadseg.report.html import plots
from roadseg.report.html.album import Album
from roadseg.report.html.page import require_ours, write_page
from roadseg.report.html.segmentation import segment_page
from roadseg.report.run import RunReport, Shard, reports_in


def segment(
    config: SegmentConfig,
    predictor: Predictor,
    jobs: Sequence[ImageJob],
    report: RunReport,
    progress: Progress | None = None,
    run: Runner | None = None,
) -> None:
    """Predict every job, write its outputs and add its row to `report`, which is itself written at the end.

    run: does the tasks, in place of `run_tasks` in this process.

    A picture that cannot be read or scored becomes a failed row, and the others go on. What ends the run at
    once, after the writes in flight and with a report of what is done, is raised as it is: an output that
    cannot be written (the next one could not either), Ctrl-C, a bug, and with `fail_fast` the first failure.

    Raises, before anything is done: OutputError (outputs exist, or would land among the inputs), DatasetError
    (labels that the model's classes cannot be made from), ConfigError (no official ids for its classes).
    """
    out, scheme = Path(config.out), predictor.scheme
    report.classes = scheme.classes
    index, count = config.shard
    report.shard = Shard(index, count, len(jobs)) if count > 1 else None
    page = out / f"{config.report_name}.html"
    album = Album(page, scheme) if config.html else None
    writer = ResultWriter(out, scheme, config.opacity, config.ids, album)
    truth = TruthReader(Path(config.labels), config.label_format, scheme) if config.labels else None
    earlier, others = earlier_reports(config, report)
    tasks = plan(config, jobs, earlier, others)
    if album:
        plots.prepare()
        require_ours(page)
        album.reopen = reopener(
            {task.name: (task.job, task.outputs["mask"]) for task in tasks}, writer, truth
        )
    anew = config.existing == "overwrite" and bool(reports_in(out))
    report.replacing = anew or any(one.replacing for one in (earlier, *others) if one)
    if anew or not (out / f"{config.report_name}.json").exists():
        # Says whose folder this is from now on, even if the run is killed: `_check_owner` looks for it.
        begun = RunReport(command=report.command, settings=report.settings, classes=report.classes)
        begun.shard, begun.replacing = report.shard, report.replacing
        begun.stopped_by = "it was killed, or is still running"
        begun.write(out, config.report_name)

    def finish() -> None:
        if earlier:
            report.carry_over(earlier)
        before = road_counts(earlier) if earlier else None
        score_run(report, [writer.scorer.road, before])
        report.settings = {**report.settings, "engine": predictor.facts()}
        report.replacing = report.replacing and report.stopped_by is not None
        report.write(out, config.report_name)
        if album:
            write_page(page, segment_page(report, album, display_colors(scheme)))

    try:
        with Journal(out / f".{config.report_name}.reading") as journal:
            here = partial(run_tasks, journal=journal)
            (run or here)(config, predictor, tasks, truth, writer, report, progress)
    except BaseException as error:
        report.stopped_by = "Ctrl-C" if isinstance(error, KeyboardInterrupt) else f"{error}" or repr(error)
        with contextlib.suppress(OutputError):  # the first error is the one to tell
            finish()
        error.add_note(report.standing(len(tasks), out))
        raise
    finish()
