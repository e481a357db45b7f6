"""Every page is for everybody: axe finds nothing, and nothing scrolls sideways.

At 1280 px, and at 320 px, which is 1280 px at 400 % zoom (WCAG 1.4.10); in each language and theme,
but not in each combination of both: words have no colours.
"""

import sys
import unittest
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

from playwright.sync_api import Page

from e2e.pages import HEIGHT, LANGUAGES, PAGES, THEMES, VISITS, World, rules, world

AXE = Path(sys.prefix, "node_modules/axe-core/axe.min.js")  # by `make test-page`
RUN = """() => axe.run(
    {exclude: ["#docs"]},  // Swagger UI is not ours
    {rules: {"target-size": {enabled: true}}, resultTypes: ["violations"]},
).then(({violations}) => violations.flatMap(({id, nodes}) =>
    nodes.map(({target, failureSummary}) => `${id} at ${target}: ${failureSummary}`)))"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


class AccessibilityTests(unittest.TestCase):
    """All pages of e2e/pages.py."""

    here: ClassVar[World]
    axe: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.here = cls.enterClassContext(world())
        cls.axe = AXE.read_text(encoding="utf-8")

    def test_every_page_has_a_row(self) -> None:
        self.assertEqual(set(PAGES), rules(), "Add the new pages to e2e/pages.py.")

    def test_axe_finds_nothing_and_nothing_scrolls_sideways(self) -> None:
        looks = list(zip(LANGUAGES, THEMES, strict=True))
        for visit, (language, theme) in product(VISITS, looks):
            page = self.here.visit(visit, language, theme)
            page.evaluate(self.axe)
            for width in (1280, 320):
                with self.subTest(visit.name, language=language, theme=theme, width=width):
                    page.set_viewport_size({"width": width, "height": HEIGHT})
                    self.check(page, language, theme)
            page.context.close()

    def check(self, page: Page, language: str, theme: str) -> None:
        """Check a page as it is shown."""
        root: dict[str, Any] = page.evaluate(
            "() => ({lang: document.documentElement.lang,"
            " theme: document.documentElement.dataset.bsTheme})"
        )
        self.assertEqual(root, {"lang": language.replace("_", "-"), "theme": theme})
        self.assertEqual(page.evaluate(RUN), [])
        self.assertLessEqual(page.evaluate(OVERFLOW), 0)
