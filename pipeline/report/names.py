"""What readers call the quantities of the files."""

from __future__ import annotations

from typing import Final

__all__ = ["INGEST_NAMES", "METRIC_NAMES", "metric_words"]

METRIC_NAMES: Final = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "auc": "AUC",
    "average_precision": "Average precision",
    "figure_of_merit": "Figure of merit",
    "purity": "Purity",
    "completeness": "Completeness",
    "completeness_all_inputs": "Completeness over all inputs",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "ece": "Calibration error",
}

INGEST_NAMES: Final = {
    "n_files": "light-curve files met",
    "n_ingested": "files ingested",
    "n_unchanged": "files unchanged since the last time",
    "n_quarantined": "files quarantined",
    "n_objects_ingested": "objects ingested",
    "n_objects_unchanged": "objects unchanged since the last time",
    "n_objects_quarantined": "objects quarantined",
    "n_ignored": "companion files, ignored",
    "n_epochs": "measurements kept",
    "n_epochs_dropped": "measurements left out",
    "n_conflicts": "conflicts between files of one object",
    "seconds": "seconds",
}


def metric_words(name: str) -> str:
    """Return a metric's name for the middle of a sentence, or the head of a column.

    >>> metric_words("figure_of_merit"), metric_words("auc")
    ('figure of merit', 'AUC')
    """
    words = METRIC_NAMES.get(name, name)
    return words if words.isupper() else words[0].lower() + words[1:]
