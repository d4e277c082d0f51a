"""Facts about the automations that a site file asks for, without waiting for any to act."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.site import SiteSettings, load_site
from pipeline.settings import SettingsError

SITE = 'sources = ["inbox"]\nstore = "catalogue"\nmodel = "model"\nout = "it\'s {out}"\n[notify]\n'


def site(folder: Path, *words: str) -> SiteSettings:
    path = folder / "site.toml"
    path.write_text(SITE)
    return load_site(path, list(words))


def outcomes(lines: list[str]) -> list[str]:
    return sorted(line.rpartition(": ")[2] for line in lines)


@pytest.mark.usefixtures("prefect_server")
def test_automations_follow_the_site_file_and_the_same_again_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    from flows.automations import check_automations, ensure_automations, main

    monkeypatch.setenv("SNFLOW_TEST_WEBHOOK", "https://hooks.example.org/one")
    chat = {"name": "chat", "url": "https://hooks.example.org/two", "json_data": {"text": "{{body}}"}}
    CustomWebhookNotificationBlock.model_validate(chat).save("ops", overwrite=True)
    asked = ['notify.blocks=["custom-webhook/ops"]', "notify.webhook_env=SNFLOW_TEST_WEBHOOK"]
    assert outcomes(ensure_automations(site(tmp_path, *asked))) == ["made", "made", "made"]
    assert ensure_automations(site(tmp_path, *asked)) == check_automations(site(tmp_path, *asked)) == []

    more = [*asked, 'notify.events=["red"]']
    assert outcomes(check_automations(site(tmp_path, *more))) == ["changed", "changed"]
    assert outcomes(ensure_automations(site(tmp_path, *more))) == ["changed", "changed"]
    assert ensure_automations(site(tmp_path, *more)) == []

    assert outcomes(check_automations(site(tmp_path))) == ["not asked for", "not asked for"]
    assert outcomes(ensure_automations(site(tmp_path))) == ["removed", "removed"]
    other = tmp_path / "other"
    other.mkdir()
    assert outcomes(ensure_automations(site(other))) == ["made"]
    assert check_automations(site(tmp_path)) == []
    words = [str(tmp_path / "site.toml"), "--check"]
    assert (main(words), main([*words, *asked]), main([*words, "stor=1"])) == (0, 1, 2)


@pytest.mark.usefixtures("prefect_server")
def test_a_receiver_that_is_not_there_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.automations import ensure_automations

    monkeypatch.delenv("SNFLOW_NO_WEBHOOK", raising=False)
    with pytest.raises(SettingsError, match="SNFLOW_NO_WEBHOOK, which is not set"):
        ensure_automations(site(tmp_path, "notify.webhook_env=SNFLOW_NO_WEBHOOK"))
    monkeypatch.setenv("SNFLOW_NO_WEBHOOK", "hunter2")
    with pytest.raises(SettingsError, match="which holds something else") as told:
        ensure_automations(site(tmp_path, "notify.webhook_env=SNFLOW_NO_WEBHOOK"))
    assert "hunter2" not in str(told.value)
    with pytest.raises(SettingsError, match="no Prefect block webhook/nobody; make it"):
        ensure_automations(site(tmp_path, 'notify.blocks=["webhook/nobody"]'))
