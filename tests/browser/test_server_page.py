"""The page of a server: it streams an answer, shows the risk of its tokens, and asks no host."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import architectures
from hlens.model import load
from hlens.monitor.flagging import flagging
from hlens.server import Limits, Offer
from serving import Served, serving
from tiny_detector import detector_of
from tiny_tokenizer import VOCAB, byte_tokenizer

HOSTILE = "<img src=x onerror=alert(1)>\u202e<script>alert(2)</script>"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    built = architectures.llama(vocab_size=VOCAB, max_position_embeddings=1024)
    model = load((built, byte_tokenizer()), name="tiny")
    offer = Offer(
        model,
        "tiny",
        detectors={"main": detector_of(model)},
        threshold=flagging("risk=0.4"),
        policies=("flag", "abstain"),
        limits=Limits(new_tokens=200),
        abstention=HOSTILE,
    )
    with serving(offer) as one:
        yield one


@pytest.fixture
def page(browser: Any, served: Served, request: Any) -> Iterator[Any]:
    context = browser.new_context(
        viewport={"width": 1100, "height": 800}, color_scheme=getattr(request, "param", "light")
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.heard = []
    page.on("console", lambda m: page.heard.append(m.text))
    page.on("pageerror", lambda error: page.heard.append(str(error)))
    page.on("dialog", lambda d: (page.heard.append("dialog"), d.dismiss()))
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(served.url)
    page.wait_for_selector("#detector option", state="attached")
    yield page
    assert [url for url in page.asked if not url.startswith((served.url, "data:"))] == []
    context.close()


def ask(page: Any, text: str, limit: int = 12) -> Any:
    page.fill("#limit", str(limit))
    page.fill("#text", text)
    page.keyboard.press("Enter")
    page.wait_for_selector(".answer:last-of-type .fate .chip")
    return page.locator(".answer").last


@pytest.mark.parametrize("page", ["light", "dark"], indirect=True)
def test_an_answer_is_streamed_and_coloured_by_its_risk(page: Any, served: Served) -> None:
    answer = ask(page, "Who wrote Emma?")
    tokens = answer.locator(".said span")
    assert 1 < tokens.count() <= 12
    risks = tokens.evaluate_all("all => all.map(one => Number(one.style.getPropertyValue('--r')))")
    assert all(0 < risk < 1 for risk in risks)
    tokens.first.hover()
    assert re.fullmatch(r"risk up to here \d+(\.\d)? %", page.inner_text("#tip"))
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Who wrote Emma?"}],
        "max_tokens": 12,
        "temperature": 0,
    }
    choice = served.client().chat.completions.create(**body).choices[0]  # type: ignore[arg-type]
    said = choice.message.content or ""
    shown = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda m: f"\\u{ord(m[0]):04x}", said)
    assert "".join(tokens.all_text_contents()) == shown
    percent = answer.locator(".fate b").inner_text().rstrip(" %")
    own: Any = choice.hlens  # type: ignore[attr-defined]
    assert float(percent) == pytest.approx(100 * own["risk"], abs=0.6)
    assert page.heard == []


def test_what_a_model_says_stays_text(page: Any) -> None:
    page.select_option("#policy", "abstain")
    page.fill("#threshold", "risk=0.01")
    answer = ask(page, HOSTILE)
    assert answer.locator(".chip").inner_text() == "abstained"
    said = answer.locator(".said").inner_text()
    assert said == HOSTILE.replace("\u202e", "\\u202e")
    assert page.locator(".asked").inner_text() == said
    assert page.locator("#talk img, #talk script").count() == 0
    assert page.heard == []


def test_errors_are_said_and_the_page_goes_on(page: Any) -> None:
    page.fill("#threshold", "0.5")
    page.fill("#text", "a")
    page.keyboard.press("Enter")
    page.wait_for_selector(".error")
    assert "expected false-alarms=0.05" in page.inner_text(".error")
    page.fill("#threshold", "")
    assert ask(page, "a").locator(".chip").count() == 1


def test_an_answer_can_be_left(page: Any, served: Served) -> None:
    page.fill("#limit", "200")
    page.fill("#text", "a long one")
    page.keyboard.press("Enter")
    page.wait_for_selector(".said span")
    page.click("#stop")
    page.wait_for_selector(".chip:text('left')")
    served.wait_until_idle()
    assert page.is_visible("#send")


def test_a_key_is_asked_for_and_given(browser: Any, served: Served) -> None:
    offer = replace(served.app.state.service.offer, api_key="secret")
    with serving(offer) as guarded:
        page = browser.new_page()
        page.goto(guarded.url)
        page.wait_for_selector(".error")
        page.fill("#key", "secret")
        page.dispatch_event("#key", "change")
        page.wait_for_selector("#detector option", state="attached")
        assert page.locator(".error").count() == 0
        page.close()
