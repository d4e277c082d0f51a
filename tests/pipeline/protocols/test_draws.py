"""Facts about draws of protocols: honest, kept, gone on with after a crash, and put together into a table."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.ingest.settings import IngestSettings
from pipeline.ingest.simulate import SimulationSettings, simulate_survey
from pipeline.protocols.data import ProtocolData, RealSky, early_epoch, held_back
from pipeline.protocols.definitions import PROTOCOLS
from pipeline.protocols.draw import Draw, borrow_networks, run_draw
from pipeline.protocols.run import ProtocolSettings, plan_draws, run_protocols
from pipeline.protocols.summary import markdown, summarise, table_lines, table_notes
from pipeline.schema import Truth
from pipeline.settings import SettingsError
from pipeline.store import Store, ingest
from pipeline.train.ensemble import state_file
from pipeline.train.fit import choose_sample, fingerprint
from pipeline.train.state import TrainingState
from pipeline.train.training_run import read_history
from tests.benchmarks.merging import merged
from tests.builders import make_light_curves, make_survey

EXPERIMENTS = Path("flows/experiments")
TINY = ("fit.epochs=2", "model.hidden_sizes=[4]", "model.embedding_size=4", "split.train=60", "split.validation=0.2")


@pytest.fixture(scope="module")
def survey(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("protocols")
    simulate_survey(folder / "survey", SimulationSettings(n_objects=150))
    ingest([folder / "survey"], Store.create(folder / "store"), IngestSettings())
    return folder


def settings_of(survey: Path, out: Path, *protocols: str, words: tuple[str, ...] = (), **values) -> ProtocolSettings:
    chosen = {"draws": 1, "experiments": EXPERIMENTS, "words": (*TINY, *words), **values}
    return ProtocolSettings(protocols=protocols, store=survey / "store", out=out, **chosen)


def with_spectra(truth: Truth, n: int) -> Truth:
    """The same truth, in which the first n objects have a spectrum."""
    return Truth(truth.table.assign(SPECTYPE=[*truth.table["SUBCLASS"][:n], *[None] * (len(truth) - n)]))


def toy_draw(row: str, out: Path, number: int = 1, words: tuple[str, ...] = ()) -> Draw:
    asked = settings_of(Path("none"), out, row, words=words, draws=number, real=Path("none"))
    return plan_draws(asked)[-1]


@pytest.fixture(scope="module")
def toy() -> ProtocolData:
    light_curves, truth = make_survey(150)
    return ProtocolData(light_curves, with_spectra(truth, 40))


def split_of(draw: Draw) -> dict[str, set[str]]:
    table = pd.read_parquet(draw.folder / "split.parquet")
    return {part: set(table.loc[table["PART"] == part, "SNID"]) for part in ("train", "validation", "test")}


def test_what_is_learnt_from_is_never_tested_on_and_validation_is_of_the_training_part(toy, tmp_path):
    draw = toy_draw("P4", tmp_path)
    result = run_draw(draw, toy)
    parts = split_of(draw)
    assert result["split"] == {"train": 48, "validation": 12, "test": 90}
    assert len(set.union(*parts.values())) == 150
    answered = pd.read_parquet(draw.folder / "predictions.parquet")["SNID"]
    assert set(answered) == parts["test"]
    for name in ("classical", "control"):
        assert set(pd.read_parquet(draw.folder / "beside" / f"{name}.parquet")["SNID"]) == parts["test"]


def test_the_figure_of_merit_is_also_that_of_the_threshold_which_validation_chose(toy, tmp_path):
    draw = toy_draw("P4", tmp_path)
    found = run_draw(draw, toy)["metrics"]["network"]["figure_of_merit_at_threshold"]
    threshold = json.loads((draw.folder / "model" / "model.json").read_text())["thresholds"]["figure_of_merit"]
    answers = pd.read_parquet(draw.folder / "predictions.parquet").set_index("SNID")["P_Ia"]
    is_ia = toy.truth.select(answers.index).table["SUBCLASS"].to_numpy() == "Ia"
    true, false = ((answers > threshold) & is_ia).sum(), ((answers > threshold) & ~is_ia).sum()
    assert found == pytest.approx(true / is_ia.sum() * true / (true + 3 * false))


def test_the_test_part_keeps_its_natural_mix_and_baselines_stand_beside(toy, tmp_path):
    draw = toy_draw("P4", tmp_path)
    result = run_draw(draw, toy)
    subclasses = toy.truth.table.set_index("SNID")["SUBCLASS"]
    share = (subclasses[sorted(split_of(draw)["test"])] != "Ia").mean()
    assert result["metrics"]["majority"]["accuracy"] == pytest.approx(share)
    assert result["metrics"]["classical"]["accuracy"] > share
    assert set(result["metrics"]) == {"network", "classical", "control", "majority"}
    assert result["metrics"]["control"]["auc"] is not None


def test_a_network_from_spectra_learns_from_them_and_so_many_others_alone(toy, tmp_path):
    draws = [toy_draw("P7-50", tmp_path, number) for number in (1, 2)]
    spectra = set(toy.truth.table["SNID"][:40])
    others = []
    for draw in draws:
        run_draw(draw, toy)
        parts = split_of(draw)
        learnt_from = parts["train"] | parts["validation"]
        assert spectra <= learnt_from
        assert len(learnt_from) == 90
        others.append(learnt_from - spectra)
    assert others[0] != others[1]
    assert held_back(PROTOCOLS["P6"], toy.truth, 1) == tuple(sorted(toy.truth.table["SNID"][40:]))


def test_without_spectra_the_rows_that_need_them_say_so(toy):
    with pytest.raises(ValueError, match="P6 learns from objects with a spectrum, and the truth has none"):
        held_back(PROTOCOLS["P6"], with_spectra(toy.truth, 0), 1)
    with pytest.raises(ValueError, match="P7-200 learns from 200 objects without a spectrum"):
        held_back(PROTOCOLS["P7-200"], toy.truth, 1)


def test_one_draw_is_one_answer_and_another_is_another(toy, tmp_path):
    first, again = (run_draw(toy_draw("P4", tmp_path / name), toy) for name in ("a", "b"))
    second = run_draw(toy_draw("P4", tmp_path / "a", 2), toy)
    assert without_time(first) == without_time(again)
    assert first["split_hash"] != second["split_hash"]
    assert first["recipe"] == second["recipe"]


def without_time(result: dict) -> dict:
    return {name: value for name, value in result.items() if name != "cpu_seconds"}


def test_an_interrupted_draw_goes_on_and_ends_with_the_same_result(toy, tmp_path):
    def stop(row):
        if row["EPOCH"] == 1:
            raise KeyboardInterrupt

    draw, whole = toy_draw("P4", tmp_path / "cut"), toy_draw("P4", tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_draw(draw, toy, stop)
    assert not (draw.folder / "result.json").exists()
    epochs: list[int] = []
    resumed = run_draw(draw, toy, lambda row: epochs.append(row["EPOCH"]))
    assert without_time(resumed) == without_time(run_draw(whole, toy))
    assert epochs == [1, 2]


def test_a_finished_draw_is_not_run_again_unless_something_else_is_asked(toy, tmp_path):
    draw = toy_draw("P4", tmp_path)
    first = run_draw(draw, toy)
    changed = draw.folder / "weights-are-not-looked-at"
    (draw.folder / "model" / "weights.safetensors").rename(changed)
    assert run_draw(draw, toy, _never) == first
    with pytest.raises(ValueError, match="made with other settings or data; give another --out"):
        run_draw(toy_draw("P4", tmp_path, words=("fit.epochs=3",)), toy)
    other = ProtocolData(toy.light_curves.take(np.arange(140)), toy.truth)
    with pytest.raises(ValueError, match="made with other settings or data"):
        run_draw(draw, other)


def _never(row):
    raise AssertionError("trained again")


def test_an_ensemble_begins_with_the_network_that_is_there(toy, tmp_path):
    alone = toy_draw("P4", tmp_path)
    run_draw(alone, toy)
    asked = settings_of(Path("none"), tmp_path, "P4", members=2)
    both = plan_draws(asked)[0]
    assert both.folder.parent.name == "P4-x2"
    mark = fingerprint(choose_sample(toy.light_curves, toy.truth, both.experiment), both.experiment)
    lenders = borrow_networks(both, mark)
    assert [(lender["row"], lender["members"]) for lender in lenders] == [("P4", 1)]
    state = TrainingState.load(state_file(both.folder / "training", 0), mark)
    assert state is not None
    assert len(state.history) == 2
    assert borrow_networks(both, "another") == []


def test_networks_that_learn_templates_answer_for_other_classes_too(toy, tmp_path):
    words = ("fit.learns=templates", "fit.keep=last")
    table = toy.truth.table
    kinds = pd.Series(["Ia", "IIn", "IIP", "Ib", "Ic"] * 30, index=table.index)
    data = ProtocolData(toy.light_curves, Truth(table.assign(SUBCLASS=kinds, TEMPLATE="toy")))
    first = run_draw(toy_draw("P4", tmp_path, words=words), data)
    trained = []
    lent = run_draw(toy_draw("P9-z", tmp_path, words=words), data, lambda row: trained.append(row["SECONDS"]))
    alone = run_draw(toy_draw("P9-z", tmp_path / "alone", words=words), data)
    assert lent["fingerprint"] == first["fingerprint"]
    assert lent["metrics"]["network"] == alone["metrics"]["network"]
    assert lent["cpu_seconds"]["train"] > first["cpu_seconds"]["train"]
    assert "answered by the networks of P4, which have learnt the same" in lent["notes"]
    folders = [out / "P9-z" / "draw-1" for out in (tmp_path, tmp_path / "alone")]
    assert trained == pytest.approx(read_history(tmp_path / "P4" / "draw-1")["SECONDS"])
    assert "VALID_LOSS" not in pd.read_csv(folders[0] / "history.csv")
    cards = [json.loads((folder / "model" / "card.json").read_text()) for folder in folders]
    assert cards[0]["validation_loss"] == cards[1]["validation_loss"]


def test_early_rows_see_nothing_after_the_sixth_observation_and_its_night():
    steps = [(56000.0 + day, "r", 10.0, 1.0) for day in range(0, 45, 5)]
    light_curves = make_light_curves({"a": [*steps, (56025.2, "g", 1.0, 1.0)], "faint": steps[:4]})
    cut = early_epoch(light_curves)
    assert list(np.diff(cut.offsets)) == [7, 4]
    assert cut.epochs["MJD"].max() == 56025.2


def test_an_early_light_curve_is_other_photometry_unless_nothing_was_cut_off(toy):
    whole, early = toy.light_curves, toy.early
    is_cut = np.diff(early.offsets) < np.diff(whole.offsets)
    hashes = [one.objects["PHOTOMETRY_HASH"].to_numpy() for one in (whole, early)]
    assert is_cut.any()
    assert ((hashes[0] != hashes[1]) == is_cut).all()


def test_early_rows_take_no_networks_of_rows_that_see_the_whole(toy, tmp_path):
    whole, early = (run_draw(toy_draw(row, tmp_path), toy) for row in ("P4", "P11-z"))
    assert early["fingerprint"] != whole["fingerprint"]
    assert not any("networks of" in note for note in early["notes"])


def test_an_early_row_learns_from_what_it_is_tested_on(toy, tmp_path):
    result = run_draw(toy_draw("P11-z", tmp_path), toy)
    answered = pd.read_parquet(tmp_path / "P11-z" / "draw-1" / "predictions.parquet")
    whole = np.diff(toy.light_curves.select(answered["SNID"]).offsets)
    assert (answered["N_EPOCHS"].to_numpy() < whole).any()
    card = json.loads((tmp_path / "P11-z" / "draw-1" / "model" / "model.json").read_text())
    assert card["accepts"]["epochs"][1] < whole.max()
    assert [note for note in result["notes"] if "never had six observations" in note]


def test_a_class_that_is_absent_is_told_and_what_is_undefined_is_null(toy, tmp_path):
    result = run_draw(toy_draw("P9-z", tmp_path), toy)
    assert result["metrics"]["network"]["auc"] is None
    for part in ("train", "validation", "test"):
        assert f"no Ibc in the {part} part" in result["notes"]
    assert "undefined: auc" in result["notes"]
    line = next(cells for cells in table_lines(summarise([result])) if cells[2] == "AUC")
    assert line[3] == "–"


def test_a_row_without_redshift_hides_it_from_networks_and_trees(tmp_path):
    draw = toy_draw("P5", tmp_path)
    assert not draw.experiment.normaliser.use_redshift
    assert toy_draw("P4", tmp_path).experiment.normaliser.use_redshift


def test_what_is_not_run_as_the_row_says_beats_no_record(toy, tmp_path):
    result = run_draw(toy_draw("P4", tmp_path), toy)
    assert result["deviations"] == ["split.train is 60, not 1103"]
    summary = summarise([result])
    row = summary["rows"][0]
    assert not row["is_comparable"]
    assert row["metrics"]["accuracy"]["beats_record"] is None
    assert "P4: split.train is 60, not 1103." in table_notes(summary)


def result_of(row: str, draw: int, accuracy: float) -> dict:
    metrics = {"accuracy": accuracy, "auc": 0.991, "figure_of_merit": 0.5}
    return {
        "row": row,
        "draw": draw,
        "members": 1,
        "deviations": [],
        "notes": [],
        "device": "cpu",
        "versions": {"snflow": "1"},
        "data_hash": "0",
        "split": {"test": 100},
        "cpu_seconds": {"network": 0.1},
        "metrics": {"network": metrics, "classical": {"accuracy": 0.9}, "majority": {"accuracy": 0.76}},
    }


def test_the_table_gives_mean_and_deviation_over_draws_and_the_verdict():
    summary = summarise([result_of("P4", 2, 0.94), result_of("P4", 1, 0.95)])
    (row,) = summary["rows"]
    accuracy, auc, merit, merit_at_threshold = row["metrics"].values()
    assert row["draws"] == [1, 2]
    assert accuracy["values"] == [0.95, 0.94]
    assert accuracy["mean"] == pytest.approx(0.945)
    assert accuracy["std"] == pytest.approx(0.01 / math.sqrt(2))
    assert (accuracy["beats_record"], accuracy["meets_goal"]) == (True, False)
    assert (auc["beats_record"], auc["meets_goal"]) == (True, True)
    assert (merit["beats_record"], merit["meets_goal"]) == (False, False)
    assert (accuracy["classical"], accuracy["majority"], accuracy["control"]) == (0.9, 0.76, None)
    verdicts = [cells[8] for cells in table_lines(summary)]
    assert verdicts == ["record beaten, short of the goal", "goal met", "short", "–"]
    assert merit_at_threshold["mean"] is None


def test_draws_of_two_machines_are_put_together_as_those_of_one():
    accuracies = {1: 0.95, 2: 0.94, 3: 0.93, 4: 0.97}
    first, later, both = (
        summarise([result_of("P4", draw, accuracies[draw]) for draw in draws])["rows"][0]
        for draws in ((1, 4), (2, 3), (1, 2, 3, 4))
    )
    found = merged(first, later)
    assert found["draws"] == both["draws"]
    accuracy, expected = found["metrics"]["accuracy"], both["metrics"]["accuracy"]
    assert accuracy["values"] == list(accuracies.values())
    for name in ("mean", "std", "classical"):
        assert accuracy[name] == pytest.approx(expected[name])
    assert (accuracy["beats_record"], accuracy["meets_goal"]) == (expected["beats_record"], expected["meets_goal"])
    assert merged(first, both) == both
    with pytest.raises(SystemExit, match=r"\[1, 4\] of P4"):
        merged(both, first)


def test_one_draw_has_no_deviation_and_the_first_protocol_brings_its_calibration_and_speed():
    first = result_of("P1", 1, 0.97)
    first["metrics"]["network"] |= {"ece": 0.004, "log_loss": 0.1}
    rows = summarise([first])["rows"]
    assert [row["row"] for row in rows] == ["P1", "P14"]
    assert rows[0]["metrics"]["accuracy"]["std"] is None
    assert rows[1]["metrics"]["ece"]["meets_goal"]
    assert rows[1]["metrics"]["light_curves_per_cpu_second"]["mean"] == pytest.approx(1000)


def test_the_table_shows_what_each_subtype_is_taken_for_over_all_draws():
    draws = [result_of("P13", draw, 0.9) for draw in (1, 2)]
    for draw, ia in zip(draws, ([30, 10], [50, 10]), strict=True):
        draw |= {"classes": ["Ia", "II"], "confusion": [ia, [0, 0]]}
    summary = summarise(draws)
    assert summary["rows"][0]["confusion"] == {"classes": ["Ia", "II"], "counts": [[80, 20], [0, 0]]}
    table = markdown(summary)
    assert "## P13: what each class is taken for" in table
    assert "| Ia | 100 | 80.0% | 20.0% |" in table
    assert "| II | 0 | – | – |" in table
    assert "taken for" not in markdown(summarise([result_of("P13", 1, 0.9)]))


def test_the_confusion_of_a_draw_counts_the_answers_of_its_test_part(toy, tmp_path):
    draw = toy_draw("P9-z", tmp_path)
    result = run_draw(draw, toy)
    answers = pd.read_parquet(draw.folder / "predictions.parquet").set_index("SNID")
    called = answers[[f"P_{name}" for name in result["classes"]]].to_numpy().argmax(axis=1)
    assert result["classes"] == ["Ia", "II", "Ibc"]
    assert np.array_equal(np.sum(result["confusion"], axis=0), np.bincount(called, minlength=3))
    truth = toy.truth.table.set_index("SNID")["SUBCLASS"].loc[list(answers.index)]
    assert sum(result["confusion"][0]) == (truth == "Ia").sum()


def test_a_run_writes_its_table_and_adds_to_it_with_further_draws(survey, tmp_path):
    summary = run_protocols(settings_of(survey, tmp_path, "P5"))
    assert json.loads((tmp_path / "protocols.json").read_text()) == summary
    more = run_protocols(settings_of(survey, tmp_path, "P5", "R1", draws=2, real=survey / "survey"))
    assert [(row["row"], row["draws"]) for row in more["rows"]] == [
        ("P1", [1, 2]),
        ("P5", [1, 2]),
        ("P14", [1, 2]),
        ("R1", [1, 2]),
    ]
    assert more["rows"][1]["metrics"]["accuracy"]["values"][0] == summary["rows"][0]["metrics"]["accuracy"]["mean"]
    assert "| P5 | Ia or not, 1,103, no redshift | accuracy |" in (tmp_path / "protocols.md").read_text()


def test_real_supernovae_are_counted_with_and_without_redshift(survey, tmp_path):
    asked = settings_of(survey, tmp_path, "R1", real=survey / "survey")
    run_protocols(asked)
    folder = tmp_path / "R1" / "draw-1"
    result = json.loads((folder / "result.json").read_text())
    sky = RealSky.read(survey / "survey")
    for name, share in result["metrics"]["network"].items():
        answered = pd.read_parquet(folder / f"{name}.parquet")
        assert list(answered["SNID"]) == list(sky.light_curves.objects["SNID"])
        assert share == pytest.approx((answered["P_Ia"] > 0.5).mean())
        assert list(result["by_survey"][name].values()) == pytest.approx([share])


def test_the_real_sky_has_those_that_are_ia_and_those_that_do_not_say(survey):
    truth = Store.open(survey / "store").truth().table
    sky = RealSky.read(survey / "store")
    assert set(sky.light_curves.objects["SNID"]) == set(truth.loc[truth["SUBCLASS"] == "Ia", "SNID"])
    assert sky.n_unsaid == 0


def test_settings_of_one_row_are_of_that_row_alone_and_come_last(tmp_path):
    words = ("P4:fit.epochs=7", "P3:fit.epochs=8", "fit.epochs=9", "P1:fit.epochs=6")
    epochs = {row: toy_draw(row, tmp_path, words=words).experiment.fit.epochs for row in ("P4", "P3-noz", "P5", "R1")}
    assert epochs == {"P4": 7, "P3-noz": 8, "P5": 9, "R1": 6}
    with pytest.raises(SettingsError, match="came 'P77'"):
        toy_draw("P4", tmp_path, words=("P77:fit.epochs=7",))


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("P4:fit.seed=3", "sets fit.seed itself"),
        ("fit.seed=3", "sets fit.seed itself; see --draws"),
        ("fit.members=3", "sets fit.members itself; see --members"),
        ("fit.teacher=spcc-ia", "sets fit.teacher itself"),
        ("fit.epoch=3", "unknown key fit.epoch; the nearest valid key is fit.epochs"),
    ],
)
def test_settings_that_are_the_protocols_own_or_unknown_are_told_before_any_work(tmp_path, word, told):
    with pytest.raises(SettingsError, match=told):
        toy_draw("P4", tmp_path, words=(word,))


def test_a_training_part_that_leaves_nothing_to_test_on_is_refused(toy, tmp_path):
    with pytest.raises(ValueError, match="P4: all 150 objects are learnt from and none is left to test on"):
        run_draw(toy_draw("P4", tmp_path, words=("split.train=1.0",)), toy)
    with pytest.raises(ValueError, match="P4: cannot draw 1103 training objects"):
        run_draw(toy_draw("P4", tmp_path, words=("split.train=1103",)), toy)


def test_a_recipe_changes_with_any_kind_or_setting_and_not_with_the_draw(tmp_path: Path) -> None:
    changes = (
        (),
        ("resampler.kind=grid",),
        ("resampler.kind=random_fill",),
        ("normaliser.kind=global",),
        ("model.cell=gru",),
        ("fit.epochs=3",),
    )
    recipes = {toy_draw("P1", tmp_path, words=words).recipe("data") for words in changes}
    assert len(recipes) == len(changes)
    assert toy_draw("P1", tmp_path, number=2).recipe("data") == toy_draw("P1", tmp_path).recipe("data")
    assert toy_draw("P1", tmp_path).recipe("other") not in recipes
