"""This run and others on the same objects, paired object by object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.classify.catalogue import as_store, read_predictions
from pipeline.evaluate.comparison import compare
from pipeline.evaluate.evaluation_run import select
from pipeline.evaluate.examination import predictions_file
from pipeline.evaluate.findings import Comparison
from pipeline.provenance import read_record
from pipeline.report.draw import ReportError
from pipeline.schema import Predictions
from pipeline.train.training_run import read_split

__all__ = ["compare_runs", "judged_predictions"]


def compare_runs(run: Path, others: Sequence[Path]) -> tuple[Comparison, ...]:
    """Compare a run with others, each over the objects that neither had learnt from.

    Args:
        run: folder of this run; its catalogue knows the truth.
        others: folders of the other runs.

    Raises:
        ReportError: if another folder holds no predictions.
    """
    if not others:
        return ()
    with as_store(Path(read_record(run, "classify")["configuration"]["source"])) as store:
        truth = store.truth()
    ours = judged_predictions(run)
    return tuple(compare(ours, judged_predictions(other), truth, other.name) for other in others)


def judged_predictions(run: Path) -> Predictions:
    """Read the predictions of a run, of its test part where it was trained on the rest.

    Raises:
        ReportError: if the folder holds none.
    """
    path = predictions_file(run)
    if path is None:
        raise ReportError(f"{run} holds no predictions to compare with: expected a folder that `snflow run` wrote")
    predictions = read_predictions(path)
    return select(predictions, read_split(run).test) if (run / "split.parquet").exists() else predictions
