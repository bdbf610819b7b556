"""The page in a real browser: it loads, opens, is reachable by keyboard, says what ``stats`` says, and runs no text."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import asdict

import pytest
from browser import Page, opened_browser
from cli_runs import run_cli
from hypothesis import given
from hypothesis import strategies as st

import nextlong
from nextlong.inspection.opened import Dataset, told_apart
from nextlong.inspection.page import plots, ribbons
from nextlong.inspection.stats import stats
from nextlong.public_text import printable
from nextlong.quality.estimates import Estimate
from nextlong.quality.long_range_gain import Gain, GainAtDistance, LongRangeGain

MOST_BYTES = 5_000_000
EVIL = "</script><script>window.broken=1</script><img src=x onerror='window.broken=1'><!--<script>"
STRANGE = "\x1b[31m red \x00 \u202edrow\u202c שלום עולם مرحبا \u2028 & &lt; 漢字 \ufeff"


@pytest.fixture(scope="module")
def browser():
    with opened_browser() as found:
        yield found


@pytest.fixture(scope="module")
def page_path(looked_at, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    result = run_cli("inspect", *looked_at.values(), "--html", path)
    assert result.exit_code == 0, result.stderr
    return path


@pytest.fixture(scope="module")
def hostile(tokenizer_folder, tmp_path_factory):
    """A dataset of documents, in files and folders, that are all but harmless; and its page."""
    folder = tmp_path_factory.mktemp("hostile") / "<b onclick=alert(1)>&amp;"
    folder.mkdir()
    draw = random.Random(5)
    words = ["".join(draw.choices("abcdefgh", k=4)) for _ in range(50)]
    lines = []
    for number in range(40):
        paragraphs = [" ".join(draw.choices(words, k=40)) for _ in range(3)]
        paragraphs[number % 3] += EVIL + STRANGE
        lines.append(json.dumps({"id": f"{number}\u202e\x1b{EVIL}", "text": "\n".join(paragraphs)}))
    (folder / "<i>corpus.jsonl").write_text("\n".join(lines), encoding="utf-8")
    nextlong.synthesize(
        folder / "<i>corpus.jsonl", folder / "data</script>", length=4096, roots=6, tokenizer=tokenizer_folder, workers=1,
        pool={"encoder": {"name": "lsa", "dimensions": 16}, "chunking": {"granularity": 256}},
    )  # fmt: skip
    assert run_cli("inspect", folder / "data</script>", "--html", folder / "report.html").exit_code == 0
    return Dataset(folder / "data</script>"), folder / "report.html"


def embedded(page: Page, name: str):
    return json.loads(page.tab.locator(f"script#{name}-data").text_content())


def test_it_is_one_small_file_that_asks_for_nothing(browser, page_path):
    page = Page(browser, page_path)
    assert page.wrong == []
    assert page.asked == [page_path.as_uri()]
    assert page_path.stat().st_size < MOST_BYTES
    # A page of one's own may not ask for anything either, whatever is put into it.
    assert page.tab.evaluate("fetch('http://127.0.0.1:9/').then(() => 'asked', () => 'refused')") == "refused"


def test_figures_are_those_of_stats(browser, page_path, looked_at):
    page = Page(browser, page_path)
    found = embedded(page, "figures")
    assert found == json.loads(json.dumps([asdict(stats(folder)) for folder in looked_at.values()]))
    summary = page.tab.locator("section[aria-labelledby=summary] table")
    rows = {row.locator("th").inner_text(): row.locator("td").all_inner_texts() for row in summary.locator("tbody tr").all()}
    assert rows["method"] == [one["method"] for one in found]
    assert rows["tokens"] == [f"{one['counts']['tokens']:,}" for one in found]
    assert rows["different chunks"] == [f"{one['quality']['reuse']['chunks']:,}" for one in found]
    for details in page.tab.locator("figure details").all():
        details.evaluate("each => each.open = true")
    distance = page.tab.locator("figure", has_text="Tokens between neighbouring").locator("tbody tr")
    for row, one in zip(distance.all(), found, strict=True):
        assert row.locator("td").first.inner_text() == f"{one['distance']['count']:,}"
    assert page.tab.locator("figure svg").count() >= 6


def test_a_block_opens_by_mouse_and_shows_its_chunk(browser, page_path, looked_at):
    page, dataset = Page(browser, page_path), Dataset(looked_at["nextlong"])
    sequences = embedded(page, "ribbons")[0]["sequences"]
    ribbon = page.tab.locator(".ribbon").first
    sample = dataset.named(sequences[0]["id"])
    assert ribbon.locator("rect").count() == len(sample.spans.chunks)
    for place in (0, 3, len(sample.spans.chunks) - 1):
        start, end = int(sample.spans.token_starts[place]), int(sample.spans.token_ends[place])
        box = ribbon.bounding_box()
        middle = (start + end) / 2 / int(sample.spans.token_ends[-1])
        ribbon.click(position={"x": middle * box["width"], "y": box["height"] / 2})
        opened = page.tab.locator(".opened").first
        assert opened.is_visible()
        shown = opened.inner_text()
        assert f"{start:,}–{end:,}" in shown  # noqa: RUF001
        chunk = int(sample.spans.chunks[place])
        assert opened.locator("pre").text_content() == printable(dataset.pool.texts([chunk])[0])
        assert dataset.pool.document_ids(dataset.pool.documents_of(sample.spans.chunks[[place]]))[0] in shown
        if sample.spans.ranks[place]:
            assert f"{sample.spans.scores[place]:.4f}" in shown
            assert f"rank {sample.spans.ranks[place]}" in shown
    assert page.wrong == []


def test_all_is_reachable_by_keyboard(browser, page_path):
    page = Page(browser, page_path)
    chunks = embedded(page, "ribbons")[0]["sequences"][0]["chunks"]
    metas = [place for place, chunk in enumerate(chunks) if chunk[0] == 0]
    for _ in range(40):
        page.tab.keyboard.press("Tab")
        if page.tab.evaluate("document.activeElement.classList.contains('ribbon')"):
            break
    ribbon, opened = page.tab.locator(".ribbon").first, page.tab.locator(".opened").first

    def at():
        return int(ribbon.get_attribute("aria-valuenow")) - 1

    page.tab.keyboard.press("Enter")
    assert (at(), opened.is_visible()) == (0, True)
    assert "meta-chunk 1" in opened.inner_text()
    page.tab.keyboard.press("n")
    assert at() == metas[1]
    page.tab.keyboard.press("ArrowRight")
    assert at() == metas[1] + 1
    assert "negative of meta-chunk 2" in opened.inner_text()
    page.tab.keyboard.press("p")
    assert at() == metas[1]
    page.tab.keyboard.press("p")
    page.tab.keyboard.press("p")  # there is none before the first
    assert at() == metas[0]
    page.tab.keyboard.press("End")
    assert at() == len(chunks) - 1
    page.tab.keyboard.press("n")
    assert at() == len(chunks) - 1
    page.tab.keyboard.press("Home")
    assert at() == 0
    assert ribbon.get_attribute("aria-valuetext").startswith("meta-chunk 1")
    page.tab.keyboard.press("Escape")
    assert not opened.is_visible()
    page.tab.keyboard.press("Enter")
    opened.get_by_role("button", name="next meta-chunk").press("Enter")
    assert at() == metas[1]
    assert page.wrong == []


def test_documents_are_followed_where_there_are_no_meta_chunks(browser, page_path):
    page = Page(browser, page_path)
    sequence, texts = embedded(page, "ribbons")[1]["sequences"][0], embedded(page, "ribbons")[1]["texts"]
    documents = [texts[chunk[1]][0] for chunk in sequence["chunks"]]
    ribbon = page.tab.locator("[data-ribbons='1'] .ribbon").first
    ribbon.focus()
    page.tab.keyboard.press("Enter")
    page.tab.keyboard.press("n")
    expected = next((place for place, name in enumerate(documents) if place and name == documents[0]), 0)
    assert int(ribbon.get_attribute("aria-valuenow")) - 1 == expected


def test_text_is_only_text(browser, hostile):
    dataset, path = hostile
    page = Page(browser, path)
    assert page.wrong == []
    sequences = embedded(page, "ribbons")[0]["sequences"]
    ribbon = page.tab.locator(".ribbon").first
    ribbon.focus()
    texts = []
    for place in range(len(sequences[0]["chunks"])):
        page.tab.keyboard.press("Enter" if place == 0 else "ArrowRight")
        texts.append(page.tab.locator(".opened pre").first.text_content())
    spans = dataset.named(sequences[0]["id"]).spans
    assert texts == [printable(text) for text in dataset.pool.texts(spans.chunks)]
    shown = "".join(texts)
    assert "<script>window.broken=1" in shown
    assert "\\x1b[31m red \\x00 \\u202edrow" in shown
    assert "שלום" in shown
    assert not any(character in page.tab.content() for character in "\x1b\x00\u202e")
    assert page.tab.evaluate("window.broken") is None
    assert page.tab.locator("img").count() == 0
    assert page.tab.locator("b[onclick]").count() == 0
    assert page.tab.locator("script").count() == 3
    assert page.asked == [path.as_uri()]
    assert "&amp;" in str(dataset.folder)
    assert str(dataset.folder) in page.tab.locator("section[aria-labelledby=summary]").text_content()


@pytest.mark.parametrize("look", ({"color_scheme": "light"}, {"color_scheme": "dark"}))
def test_it_is_readable_in_light_dark_and_narrow(browser, page_path, look):
    for width in (1280, 360):
        page = Page(browser, page_path, viewport={"width": width, "height": 800}, **look)
        assert page.tab.evaluate("document.documentElement.scrollWidth") <= width
        # Of all text that is shown: contrast of 4.5 to what is behind it, as WCAG 2.2 asks of small text (1.4.3).
        assert page.tab.evaluate(CONTRASTS) >= 4.5
        page.tab.emulate_media(media="print")
        assert page.tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.tab.evaluate(CONTRASTS) >= 4.5
        assert page.wrong == []


CONTRASTS = """() => {
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  let least = 21;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || !element.getClientRects().length || ["SCRIPT", "NOSCRIPT"].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const svg = element.namespaceURI.includes("svg");
    const [a, b] = [light(rgb(svg ? style.fill : style.color)), light(behind(element))];
    least = Math.min(least, (Math.max(a, b) + .05) / (Math.min(a, b) + .05));
  }
  return least;
}"""


def test_long_texts_are_cut_and_said_to_be(looked_at, browser, tmp_path, monkeypatch):
    monkeypatch.setattr(ribbons, "MOST_BYTES", 30_000)
    path = tmp_path / "report.html"
    assert run_cli("inspect", looked_at["nextlong"], "--html", path).exit_code == 0
    page = Page(browser, path)
    texts = embedded(page, "ribbons")[0]["texts"]
    assert sum(len(text.encode()) for _, _, text, _ in texts) <= 30_000
    assert any(left_out for *_, left_out in texts)
    dataset = Dataset(looked_at["nextlong"])
    whole = sum(len(printable(text)) for text in dataset.pool.texts(range(dataset.pool.chunks)))
    assert sum(len(text) + left_out for _, _, text, left_out in texts) <= whole
    page.tab.locator(".ribbon").first.focus()
    for _ in range(30):
        page.tab.keyboard.press("ArrowRight")
        if page.tab.locator(".opened").first.get_by_text("left out of this page").count():
            break
    else:
        pytest.fail("no text is said to be cut")


def measured(dataset, shift=0.0):
    """What `nextlong gain` could have measured."""

    def gain(value):
        return Gain(9, 900, 2.5, Estimate(value + 1, value, value + 2), Estimate(value, value - 0.5, value + 0.5), None)

    bins = [GainAtDistance(1 << power, 2 << power, gain(shift + power / 10)) for power in (9, 10, 11)]
    return LongRangeGain(dataset, dataset, "<b>model", 256, 2048, 12, 3, gain(shift), bins, None)


def test_gains_are_shown_by_distance(looked_at, browser, tmp_path):
    path, file = tmp_path / "report.html", tmp_path / "gain.json"
    file.write_text(json.dumps([asdict(measured("nextlong", 0.123)), asdict(measured("standard"))]))
    result = run_cli("inspect", looked_at["nextlong"], looked_at["standard"], "--html", path, "--gain", file)
    assert result.exit_code == 0, result.stderr
    page = Page(browser, path)
    section = page.tab.locator("section[aria-labelledby=gain]")
    assert section.locator("figure svg").count() == 2
    assert "<b>model" in section.inner_text()
    section.locator("details").first.evaluate("each => each.open = true")
    rows = [row.inner_text().split("\t") for row in section.locator("tbody").first.locator("tr").all()]
    assert rows[0] == ["nextlong", "all", "9", "900", "2.5", "0.123 (-0.377 to 0.623)"]
    assert rows[1][:2] == ["nextlong", "512-1,023"]
    assert [row[0] for row in rows] == ["nextlong"] * 4 + ["standard"] * 4
    assert page.wrong == []


def test_gains_of_others_are_refused(looked_at, tmp_path):
    path, file = tmp_path / "report.html", tmp_path / "gain.json"
    for content, message in (
        (json.dumps([asdict(measured("another"))]), "are of other datasets: another"),
        ("[1, 2]", "not what `nextlong gain --json` prints"),
    ):
        file.write_text(content)
        result = run_cli("inspect", looked_at["nextlong"], "--html", path, "--gain", file)
        assert (result.exit_code, path.exists()) == (2, False)
        assert message in result.stderr
    assert "Cannot read" in run_cli("inspect", looked_at["nextlong"], "--html", path, "--gain", tmp_path / "none").stderr
    assert run_cli("inspect", looked_at["nextlong"], "--gain", file).exit_code == 2


def test_short_chunks_leave_room_for_all_sequences_that_are_shown(looked_at, monkeypatch):
    monkeypatch.setattr(ribbons, "_LEAST_CHARACTERS", 10_000)  # more than any has
    datasets = [Dataset(folder) for folder in looked_at.values()]
    for one in ribbons.ribbons(datasets, [dataset.sample() for dataset in datasets]):
        assert len(one["sequences"]) == ribbons.SHOWN_SEQUENCES
        assert not any(left_out for *_, left_out in one["texts"])


def test_meta_chunks_are_seen_between_very_many(browser, family_pool, tokenizer_folder, tmp_path):
    nextlong.synthesize(family_pool, tmp_path / "data", length=24_576, roots=1, tokenizer=tokenizer_folder, workers=1)
    assert run_cli("inspect", tmp_path / "data", "--html", tmp_path / "report.html").exit_code == 0
    page = Page(browser, tmp_path / "report.html", viewport={"width": 360, "height": 800})
    chunks = embedded(page, "ribbons")[0]["sequences"][0]["chunks"]
    ribbon = page.tab.locator(".ribbon").first
    assert len(chunks) > 100
    box, end = ribbon.bounding_box(), chunks[-1][-1]
    for place, (role, *_, start, stop) in enumerate(chunks):
        if role == 0:  # at its very top, where only meta-chunks reach, it is hit by whoever points at it
            ribbon.click(position={"x": min((start + stop) / 2 / end * box["width"], box["width"] - 1), "y": 2})
            assert int(ribbon.get_attribute("aria-valuenow")) - 1 == place
    ribbon.press("ArrowRight")
    strokes = "each => [getComputedStyle(each).stroke, getComputedStyle(each).fill, getComputedStyle(each).strokeWidth]"
    for meta in ribbon.locator("rect.meta:not(.chosen)").all():
        stroke, fill, width = meta.evaluate(strokes)
        assert (stroke, width) == (fill, "1.5px")
    assert ribbon.locator("rect:not(.meta):not(.chosen)").first.evaluate(strokes)[0] == "none"
    assert page.wrong == []


def test_nothing_is_at_zero_on_the_axis(browser, page_path):
    page = Page(browser, page_path)
    plot = page.tab.locator("figure", has_text="Tokens between neighbouring").locator("svg")
    labels = plot.locator(".role-axis-label text").all_text_contents()
    assert labels[:3] == ["0", "1", "2"]


def test_fewer_sequences_are_shown_where_they_take_too_much_room(looked_at, monkeypatch):
    dataset = Dataset(looked_at["nextlong"])
    sample = dataset.sample()
    for most in (25_000, 12_000, 5_000):
        monkeypatch.setattr(ribbons, "MOST_BYTES", most)
        (content,) = ribbons.ribbons([dataset], [sample])
        assert 1 <= len(content["sequences"]) < ribbons.SHOWN_SEQUENCES
        assert len(content["sequences"]) == 1 or len(ribbons.packed([content]).encode()) <= most * 1.01


def test_uses_that_no_chunk_has_are_drawn_as_none():
    drawn = plots.as_counts({1: 6, 2: 1, 5: 3})
    assert [(each.low, each.high, each.count) for each in drawn.bins] == [(1, 2, 6), (2, 3, 1), (3, 5, 0), (5, 6, 3)]


@pytest.mark.parametrize("place", ("", "folder"))
def test_a_page_is_not_written_over_a_folder(looked_at, tmp_path, place):
    (tmp_path / "folder").mkdir()
    result = run_cli("inspect", looked_at["knn"], "--html", place and tmp_path / place)
    assert result.exit_code == 2
    assert "is a folder" in result.stderr


def test_datasets_of_one_name_are_told_apart(looked_at, browser, tmp_path):
    folders = [shutil.copytree(looked_at[method], tmp_path / method / "data\x1b") for method in ("nextlong", "knn")]
    file = tmp_path / "gain.json"
    names = told_apart([Dataset(folder).name for folder in folders])
    assert names == ["data\x1b (1)", "data\x1b (2)"]
    file.write_text(json.dumps([asdict(measured(name)) for name in names]))
    result = run_cli("inspect", *folders, "--html", tmp_path / "report.html", "--gain", file)
    assert result.exit_code == 0, result.stderr
    page = Page(browser, tmp_path / "report.html")
    assert page.tab.locator("h1").inner_text() == "data\\x1b (1), data\\x1b (2)"
    assert page.tab.locator("section[aria-labelledby=gain] .soft").first.inner_text().count("data\\x1b (") == 2


def test_too_many_datasets_are_refused(looked_at, tmp_path):
    result = run_cli("inspect", *[looked_at["knn"]] * 7, "--html", tmp_path / "report.html")
    assert result.exit_code == 2
    assert "6 datasets at most" in result.stderr
    assert not (tmp_path / "report.html").exists()
    assert run_cli("inspect", looked_at["knn"], looked_at["standard"]).exit_code == 2


@given(st.text())
def test_packed_data_is_the_same_data_and_nothing_else(text):
    content = ribbons.packed([text])
    assert json.loads(content) == [text]
    assert "<" not in content
    assert content == printable(content)


@pytest.mark.parametrize("text", ("漢字かな交じり文", '"\\\n"', "plain words "))
def test_texts_of_any_script_fit(text):
    texts = [text * 20_000] * 30
    limit, longest = ribbons._limit(texts, ribbons.MOST_BYTES)
    assert longest == len(texts[0])
    assert ribbons._LEAST_CHARACTERS < limit < len(texts[0])
    assert len(ribbons.packed([each[:limit] for each in texts]).encode()) <= ribbons.MOST_BYTES * 1.01
