"""Which origins ``CORS_ORIGINS`` takes, and what it says of others."""

import unittest

from project import origins

RIGHT = [
    "https://client.example",
    "http://localhost:3000",
    "http://127.0.0.1:65535",
    "https://xn--bcher-kva.example",
    "https://my_client.a-b.example:8443",
    "http://[::1]:5173",
    f"https://{'.'.join(['a' * 49] * 5)}.com:65535",
]
WRONG = {
    "*": r"\* would allow",
    "https://*.example.com": r"\* would allow",
    "null": "local files",
    "client.example": "must begin with http:// or https://",
    "//client.example": "must begin with http:// or https://",
    "ftp://client.example": "must begin with http:// or https://",
    "file://": "must begin with http:// or https://",
    "https:client.example": "must begin with http:// or https://",
    "https://client.example/": "ends after host and port: https://client.example$",
    "http://localhost:3000/app": "ends after host and port: http://localhost:3000$",
    "https://client.example?a": "ends after host and port: https://client.example$",
    "https://client.example#a": "ends after host and port: https://client.example$",
    r"https://client.example\a": "ends after host and port: https://client.example$",
    "https://Client.example": "lower case: https://client.example$",
    "HTTPS://client.example": "lower case: https://client.example$",
    "https://bücher.example": "outside ASCII; .* xn--",
    "https://a.example,https://b.example": "no commas",
    "https://client.example;": "is not a host",
    "https://client.example:443": "leave out the default port: https://client.example$",
    "http://client.example:80": "leave out the default port: http://client.example$",
    "http://[::1]:80": r"leave out the default port: http://\[::1\]$",
    "http://localhost:": "is not a port",
    "http://localhost:0": "is not a port",
    "http://localhost:03000": "is not a port",
    "http://localhost:65536": "is not a port",
    "http://localhost:$port": "is not a port",
    "http://localhost:1:2": "is not a port",
    "https://": "is not a host",
    "https://a..b": "is not a host",
    "https://client.example.": "is not a host",
    "https://-a.example": "is not a host",
    "https://$host": "is not a host",
    'https://a"': "is not a host",
    "http://::1": "is not a host",
    "http://[::1": "is not a host",
    "http://[::1]a": "is not a host",
    "http://[0:0:0:0:0:0:0:1]:3000": r"write \[::1\]",
    "http://[fe80::1%eth0]": "is not a host",
    "http://127.1": "is not a host",
    "http://127.0.0.256": "is not a host",
    f"http://{'a' * 64}": "is not a host",
}


class OriginsTests(unittest.TestCase):
    """``origins.check``."""

    def test_origin_as_browsers_send_it_is_accepted(self):
        for origin in RIGHT:
            with self.subTest(origin):
                origins.check(origin)

    def test_anything_else_is_refused_with_the_reason(self):
        for origin, reason in WRONG.items():
            with self.subTest(origin), self.assertRaisesRegex(ValueError, reason) as caught:
                origins.check(origin)
            self.assertIn(repr(origin), str(caught.exception))

    def test_credentials_are_not_repeated(self):
        with self.assertRaisesRegex(ValueError, "must not have a user or a password") as caught:
            origins.check("https://user:password1@client.example")
        self.assertNotIn("password1", str(caught.exception))
