"""Which device a User-Agent names."""

from unittest import TestCase

from project.api.auth.devices import read_device

CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0"


class ReadDeviceTests(TestCase):
    """read_device."""

    def test_usual_clients_are_named(self):
        for user_agent, expected in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0",
                ("Firefox", "Windows"),
            ),
            (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {CHROME} Safari/537.36",
             ("Chrome", "macOS")),
            (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36 Edg/131.0.0.0",
             ("Edge", "Windows")),
            (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {CHROME} Safari/537.36 OPR/116.0.0.0",
             ("Opera", "ChromeOS")),
            (f"Mozilla/5.0 (Linux; Android 10; K) {CHROME} Mobile Safari/537.36",
             ("Chrome", "Android")),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15"
                " (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
                ("Safari", "iPhone"),
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 17_6 like Mac OS X) AppleWebKit/605.1.15"
                " (KHTML, like Gecko) CriOS/131.0.6778.73 Mobile/15E148 Safari/604.1",
                ("Chrome", "iPad"),
            ),
            (f"Mozilla/5.0 (X11; Linux x86_64) {CHROME} Safari/537.36", ("Chrome", "Linux")),
            ("curl/8.5.0", ("curl", "")),
            ("python-httpx/0.28.1", ("python-httpx", "")),
            ("our-robot", ("our-robot", "")),
            ("okhttp/4.12.0 (Linux; x)", ("okhttp", "Linux")),
        ]:  # fmt: skip
            with self.subTest(user_agent):
                self.assertEqual(read_device(user_agent), expected)

    def test_what_names_nothing_is_unknown(self):
        for user_agent in [None, "", "Mozilla/5.0", "é" * 255, "<script>", "x" * 255, "(x"]:
            with self.subTest(user_agent):
                self.assertEqual(read_device(user_agent), ("", ""))
