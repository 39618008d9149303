# SPDX-License-Identifier: Apache-2.0
"""Opens the pages of test_report.sh as a reader would. Usage: check_report.py CHROMIUM DIRECTORY"""
import re
import sys

from browser import Browser

EVIL = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=2>"
DRAWN = """[...document.querySelectorAll("canvas")].filter((c) => c.offsetParent).map((c) => {
  const pixels = c.getContext("2d").getImageData(0, 0, c.width, c.height).data, seen = new Set();
  for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3]) seen.add((pixels[i] << 16) | (pixels[i + 1] << 8) | pixels[i + 2]);
  return seen.size;
})"""


def expect(found, wanted, what):
    if found != wanted:
        sys.exit(f"{what}: expected {wanted!r}, found {found!r}")


def at_least(found, wanted, what):
    if not found >= wanted:
        sys.exit(f"{what}: expected at least {wanted!r}, found {found!r}")


def open_page(browser, directory, name, charts, **how):
    url = f"file://{directory}/{name}.html"
    page = browser.open(url, **how)
    expect(page.problems, [], f"{name}: console")
    expect(page.requests, [url], f"{name}: requests")
    expect(page.evaluate("document.documentElement.dataset.charts"), str(charts), f"{name}: charts")
    colours = page.evaluate(DRAWN)
    expect(len(colours), charts, f"{name}: canvases")
    at_least(min(colours), 8, f"{name}: colours of the emptiest canvas")  # axes, labels and lines, smoothed
    beyond = page.evaluate("[...document.querySelectorAll('#charts canvas')].filter((c) => /Share|Dropped|Held-out|Trust|Effective/.test("
                           "c.getAttribute('aria-label')) && Chart.getChart(c).scales.y.max > 1).map((c) => c.getAttribute('aria-label'))")
    expect(beyond, [], f"{name}: axes of shares beyond 1")
    shown = page.evaluate("document.body.innerText")
    for word in ("undefined", "NaN", "null", "[object"):
        if word in shown:
            sys.exit(f"{name}: the page shows {word!r}")
    page.screenshot(f"{directory}/{name}-{how.get('width', 1280)}{'-dark' if how.get('dark') else ''}.png", whole=True)
    return page


def text(page, selector):
    return page.evaluate(f"document.querySelector({selector!r}).textContent")


def check_laboratory(page):
    expect(page.evaluate("window.hacked"), None, "markup in names and transcripts")
    expect(page.evaluate("document.querySelectorAll('img, b').length"), 0, "elements made of text")
    expect(text(page, "#labs .callout"), "opsm holds. " + EVIL, "verdict")
    expect(page.evaluate("[...document.querySelectorAll('#labs tbody th')].map((e) => e.textContent)"), ["opsm", EVIL], "arms")
    notes = text(page, "#notes-list")
    for words in ("seed 3 failed: killed by signal 9", "One line was skipped", "opsm/seed-3: no optimiser step"):
        if words not in notes:
            sys.exit(f"notes lack {words!r}: {notes}")
    keys = page.evaluate("[...document.querySelectorAll('#config th.key')].map((e) => e.textContent)")
    expect(keys, ["objective.mask.rule"], "keys that differ")
    samples = text(page, "#samples")
    for words in (EVIL, "Masked", "A < 0 and drift", "before training", "<b>bold</b> &amp;"):
        if words not in samples:
            sys.exit(f"transcripts lack {words!r}")
    at_least(page.evaluate("document.querySelectorAll('.sample.masked').length"), 2, "masked transcripts")
    if "Beyond delta:" not in text(page, "#drift-card"):
        sys.exit("the histogram has no threshold")


def check_single(page):
    """What was trained, from what to what, how sure, how long and how fast, on the first screen; then the same problems twice."""
    head = page.evaluate("document.querySelector('#headline').innerText")
    for pattern in (r"0\.\d\d → [01]\.\d\d", r"accuracy on 32 held-out problems, before and after; 95% intervals 0\.\d\d to 0\.\d\d and 0\.\d\d to",
                    "model.gguf", "modsum", r"Duration\s+[\d.]+ s", r"48 in 12 iterations", r"tokens, [\d,]+ a second", "Trained",
                    r"Response length\s+[\d.]+", "Finished by themselves", "Reward"):
        if not re.search(pattern, head):
            sys.exit(f"the headline lacks {pattern!r}: {head!r}")
    at_least(800, page.evaluate("document.querySelector('#headline').getBoundingClientRect().bottom"), "bottom of the headline")
    titles = page.evaluate("[...document.querySelectorAll('#charts h3')].map((e) => e.textContent)")
    for title in ("Response length", "Share finished", "Threshold in force", "Trust", "Learning rate in force", "Verifier exact", "Verifier numeric"):
        if title not in titles:
            sys.exit(f"no chart {title!r}: {titles}")
    expect(titles[:4], ["Reward", "Held-out accuracy", "Drift where A < 0", "Drift where A > 0"], "first charts")
    note = text(page, "#compare-note")
    counts = [int(n) for n in re.findall(r"(\d+) (?:became|stayed)", note)]
    if len(counts) != 4 or sum(counts) != 16 or "at the start and at step 48" not in note:
        sys.exit(f"before and after: {note!r}")
    pairs = page.evaluate("[...document.querySelectorAll('#compare-rows article')].map((e) => e.querySelectorAll('.sample').length)")
    at_least(len(pairs), 1, "problems before and after")
    expect(set(pairs), {2}, "answers of a problem")


def check_keyboard(page):
    """Tab reaches every control in turn; the theme, the arms, the charts and the tables answer to keys."""
    seen = []
    for _ in range(200):
        page.key("Tab")
        here = page.evaluate("(() => { const e = document.activeElement; if (e === document.body) return 'end';"
                             " if (!e.dataset.seen) e.dataset.seen = 'x'; return e.tagName + ':' + (e.id || e.className || e.textContent.slice(0, 20)); })()")
        if here == "end":
            break
        seen.append(here)
    missed = page.evaluate("[...document.querySelectorAll('button, select, canvas, summary, .scroll')]"
                           ".filter((e) => e.offsetParent && !e.dataset.seen).map((e) => e.outerHTML.slice(0, 120))")
    expect(missed, [], "controls that Tab does not reach")
    page.evaluate("document.getElementById('theme').focus()")
    page.key("Enter")
    expect(page.evaluate("document.documentElement.dataset.theme"), "light", "theme after one press")
    page.key("Enter")
    expect(page.evaluate("document.documentElement.dataset.theme"), "dark", "theme after two")
    page.key("Enter")
    before = page.evaluate("document.querySelector('canvas').toDataURL()")
    page.evaluate("document.querySelector('#legend button').focus()")
    page.key(" ")
    expect(page.evaluate("document.querySelector('#legend button').getAttribute('aria-pressed')"), "false", "arm switched off")
    if page.evaluate("document.querySelector('canvas').toDataURL()") == before:
        sys.exit("switching an arm off changed no chart")
    page.key(" ")
    expect(page.evaluate("document.querySelector('canvas').toDataURL()"), before, "the chart after switching it on again")
    page.evaluate("document.querySelector('canvas').focus()")
    page.key("ArrowRight")
    first = text(page, "#live")
    page.key("ArrowRight")
    page.evaluate("document.querySelector('canvas[aria-label^=\"Drift where A < 0\"]').focus()")
    page.key("ArrowRight")
    if ", delta 0.003" not in text(page, "#live"):
        sys.exit(f"the threshold is not read beside the drift: {text(page, '#live')!r}")
    page.evaluate("document.querySelector('canvas').focus()")
    page.key("ArrowRight")
    page.key("ArrowRight")
    if not first.startswith("step") or "opsm: " not in first or text(page, "#live") == first:
        sys.exit(f"arrow keys do not read the chart: {first!r}, {text(page, '#live')!r}")
    page.evaluate("document.querySelector('#drift-card canvas').focus()")
    page.key("Home")
    if not text(page, "#live").startswith("drift"):
        sys.exit(f"arrow keys do not read the histogram: {text(page, '#live')!r}")
    page.evaluate("document.querySelector('.tools button').focus()")
    page.key("Enter")
    at_least(page.evaluate("document.querySelectorAll('#charts .card table tbody tr').length"), 5, "rows of a chart's table")


def check_hover(page):
    """The mouse over a chart brings its tooltip, drawn into the canvas."""
    box = page.evaluate("(() => { const c = document.querySelector('canvas'); c.scrollIntoView({block: 'center'});"
                        " const r = c.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()")
    page.evaluate("window.before = document.querySelector('canvas').toDataURL()")
    page.move(*box)
    page.wait("document.querySelector('canvas').toDataURL() !== window.before")


def check_phone(page):
    """Nothing is wider than the screen, and nothing is too small to tap."""
    at_least(360, page.evaluate("document.documentElement.scrollWidth"), "width of the page on a phone")
    wide = page.evaluate("[...document.querySelectorAll('body *')].filter((e) => !e.closest('.scroll, #legend, .skip, .hidden')"
                         " && e.offsetParent && e.getBoundingClientRect().right > 360.5).map((e) => e.outerHTML.slice(0, 100))")
    expect(wide, [], "elements wider than a phone")
    small = page.evaluate("[...document.querySelectorAll('button, select')].filter((e) => e.offsetParent && e.offsetHeight < 24)"
                          ".map((e) => e.outerHTML.slice(0, 100))")
    expect(small, [], "controls smaller than 24 px")


def check_contrast(page, theme):
    """Text against its ground: at least 4.5 to 1 (WCAG 2.2, AA)."""
    worst = page.evaluate("""(() => {
      const parse = (c) => c.match(/[0-9.]+/g).map(Number);
      const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      let worst = [99, ""];
      for (const e of document.querySelectorAll("body *")) {
        if (!e.offsetParent || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
        let ground = e;
        while (ground && parse(getComputedStyle(ground).backgroundColor)[3] === 0) ground = ground.parentElement;
        const a = light(parse(getComputedStyle(e).color)), b = light(parse(getComputedStyle(ground || document.body).backgroundColor));
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < worst[0]) worst = [ratio, e.outerHTML.slice(0, 100)];
      }
      return worst;
    })()""")
    if not worst[0] >= 4.5:
        sys.exit(f"contrast {worst[0]:.2f} in the {theme} theme: {worst[1]}")


def main():
    chromium, directory = sys.argv[1:]
    with Browser(chromium) as browser:
        page = open_page(browser, directory, "lab", 12)
        expect(page.evaluate("document.documentElement.dataset.theme"), "light", "theme")
        check_laboratory(page)
        check_hover(page)
        check_keyboard(page)
        expect(page.problems, [], "console after use")
        page.scheme(True)
        page.wait("document.documentElement.dataset.theme === 'dark'")
        for dark in (False, True):
            page = open_page(browser, directory, "lab", 12, width=360, height=780, dark=dark)
            check_phone(page)
            check_contrast(page, "dark" if dark else "light")
        page = open_page(browser, directory, "one", 12, dark=True)
        at_least(page.evaluate("document.querySelectorAll('#config th.key').length"), 40, "keys of a single run")
        check_single(open_page(browser, directory, "single", 16))
        page = open_page(browser, directory, "single", 16, width=360, height=780)
        check_phone(page)
        check_contrast(page, "light")
        page = open_page(browser, directory, "old", 10)
        at_least(len(text(page, "#headline strong")), 4, "the headline of an old record")
        page = open_page(browser, directory, "runs", 12)
        expect(page.evaluate("document.querySelectorAll('#legend button').length"), 2, "runs that differ in the seed are one arm")
        open_page(browser, directory, "sft", 2)
        open_page(browser, directory, "early", 8, width=360)
    print("the pages open without network: charts drawn, no error, keyboard and phone work, text stays text")


main()
