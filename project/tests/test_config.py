"""The settings of each environment."""

import os
import re
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from flask import Flask, current_app
from flask_testing import TestCase

from project import create_app, database_url, db
from project.config import (
    BaseConfig,
    ConfigError,
    ProductionConfig,
    choose,
    refuse_served_database,
    same_database,
)
from project.mail_server import MailServer, parse_server

SECRET = {"SECRET_KEY": "a long key of production's own, made by chance"}
MAILS = {
    **SECRET,
    "SMTP_URL": "smtp://relay",
    "PUBLIC_URL": "https://users.example/directory/",
    "MAIL_FROM": "Directory <directory@example.com>",
}


def environment(**values: str) -> "mock._patch_dict":
    """Replace what the service reads from the environment by these variables."""
    names = ["APP_SETTINGS", "DATABASE_URL", "DATABASE_TEST_URL", "SECRET_KEY", "MAX_BODY_BYTES"]
    names += ["IMPORT_MAX_BYTES", "LOG_LEVEL", "CORS_ORIGINS", "SCRIPT_NAME"]
    names += ["PUBLIC_URL", "SMTP_URL", "MAIL_FROM"]
    kept = {
        name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in names
    }
    return mock.patch.dict(os.environ, {**kept, **values}, clear=True)


class TestDevelopmentConfig(TestCase):
    """Settings of development."""

    def create_app(self) -> Flask:
        with environment(DATABASE_URL="mysql+pymysql://u:p@127.0.0.1:1/users_dev"):
            return create_app("project.config.DevelopmentConfig")

    def test_app_is_development(self):
        self.assertEqual(self.app.config["SECRET_KEY"], "secret")
        self.assertIs(self.app.config["DEBUG"], True)
        self.assertIs(self.app.config["TESTING"], False)
        self.assertIsNotNone(current_app)
        self.assertEqual(
            self.app.config["SQLALCHEMY_DATABASE_URI"],
            "mysql+pymysql://u:p@127.0.0.1:1/users_dev",
        )
        self.assertIs(self.app.config["SQLALCHEMY_TRACK_MODIFICATIONS"], False)


class TestTestingConfig(TestCase):
    """Settings of the tests."""

    def create_app(self) -> Flask:
        with environment(DATABASE_TEST_URL="mysql+pymysql://u:p@127.0.0.1:1/users_test"):
            return create_app("project.config.TestingConfig")

    def test_app_is_testing(self):
        self.assertEqual(self.app.config["SECRET_KEY"], "secret")
        self.assertIs(self.app.config["DEBUG"], True)
        self.assertIs(self.app.config["TESTING"], True)
        self.assertIs(self.app.config["PRESERVE_CONTEXT_ON_EXCEPTION"], False)
        self.assertIs(self.app.config["PROPAGATE_EXCEPTIONS"], False)
        self.assertIs(self.app.config["WTF_CSRF_ENABLED"], False)
        self.assertEqual(
            self.app.config["SQLALCHEMY_DATABASE_URI"],
            "mysql+pymysql://u:p@127.0.0.1:1/users_test",
        )


class TestProductionConfig(TestCase):
    """Settings of production."""

    def create_app(self) -> Flask:
        with environment(DATABASE_URL="mysql+pymysql://u:p@127.0.0.1:1/users_prod", **SECRET):
            return create_app("project.config.ProductionConfig")

    def test_app_is_production(self):
        self.assertEqual(self.app.config["SECRET_KEY"], SECRET["SECRET_KEY"])
        self.assertIs(self.app.config["DEBUG"], False)
        self.assertIs(self.app.config["TESTING"], False)
        self.assertEqual(
            self.app.config["SQLALCHEMY_DATABASE_URI"],
            "mysql+pymysql://u:p@127.0.0.1:1/users_prod",
        )


class ChooseTests(unittest.TestCase):
    """Which settings an app gets."""

    def test_choose_class_is_taken_as_it_is(self):
        self.assertIs(choose(ProductionConfig), ProductionConfig)

    def test_choose_nothing_takes_app_settings(self):
        with environment(APP_SETTINGS="project.config.ProductionConfig"):
            self.assertIs(choose(None), ProductionConfig)

    def test_choose_nothing_without_app_settings_is_development(self):
        with environment():
            self.assertEqual(choose(None).__name__, "DevelopmentConfig")

    def test_choose_wrong_name_is_refused_by_name(self):
        for name in ["project.config.NoConfig", "nowhere.Config", "project.config.choose", "x"]:
            with self.subTest(name), self.assertRaisesRegex(ConfigError, f"APP_SETTINGS.*{name}"):
                choose(name)

    def test_base_is_neither_debug_nor_testing(self):
        self.assertIs(BaseConfig.DEBUG, False)
        self.assertIs(BaseConfig.TESTING, False)


class EnvironmentTests(unittest.TestCase):
    """What settings take from the environment, and what they refuse."""

    def test_databases_unset_are_sqlite_files_in_instance(self):
        names = {"Development": "dev", "Testing": "test", "Production": "prod"}
        for name, short in names.items():
            with self.subTest(name), environment(**SECRET):
                app = create_app(f"project.config.{name}Config")
                with app.app_context():
                    expected = f"{app.instance_path}/users_{short}.db"
                    self.assertEqual(db.engine.url.database, expected)

    def test_setting_is_read_from_the_named_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "key")
            path.write_text("\ufefffrom a file\r\n")  # as some editors write it
            with environment(SECRET_KEY_FILE=str(path)):
                self.assertEqual(ProductionConfig.SECRET_KEY, "from a file")

    def test_number_is_read_from_the_environment(self):
        with environment(MAX_BODY_BYTES="1000"):
            self.assertEqual(ProductionConfig.MAX_CONTENT_LENGTH, 1000)
        with environment(IMPORT_MAX_BYTES="1000"):
            self.assertEqual(ProductionConfig.IMPORT_MAX_BYTES, 1000)

    def test_empty_variable_counts_as_unset(self):
        with environment(DATABASE_URL=""):
            self.assertEqual(ProductionConfig.SQLALCHEMY_DATABASE_URI, "sqlite:///users_prod.db")

    def test_later_settings_change_no_engine(self):
        with environment():
            app = create_app("project.config.TestingConfig")
            app.config.from_object("project.config.DevelopmentConfig")
            with app.app_context():
                for engine in db.engines.values():
                    self.assertIn("users_test", str(engine.url))

    def test_wrong_environment_is_refused_by_name(self):
        cases = {
            "SECRET_KEY is not set": {},
            "SECRET_KEY is not set. ": {"SECRET_KEY": "secret"},
            "SECRET_KEY: a key is shorter than 32 bytes. Create one with": {
                "SECRET_KEY": "é" + "x" * 29
            },
            "SECRET_KEY_FALLBACKS: a key is shorter": {
                **SECRET,
                "SECRET_KEY_FALLBACKS": f"{'x' * 32} {'x' * 31}",
            },
            "SECRET_KEY and SECRET_KEY_FILE": {"SECRET_KEY": "a", "SECRET_KEY_FILE": "b"},
            "SECRET_KEY_FILE: /nowhere": {"SECRET_KEY_FILE": "/nowhere"},
            "MAX_BODY_BYTES": {**SECRET, "MAX_BODY_BYTES": "0"},
            "MAX_BODY_BYTES has": {**SECRET, "MAX_BODY_BYTES": "1 MB"},
            "AUDIT_DAYS has an invalid value: '36501'": {**SECRET, "AUDIT_DAYS": "36501"},
            "DATABASE_WAIT_SECONDS has an invalid value: '31'": {
                **SECRET,
                "DATABASE_WAIT_SECONDS": "31",
            },
            r"CORS_ORIGINS: '\*': \* would allow": {
                **SECRET,
                "CORS_ORIGINS": "https://a *",
            },
            "CORS_ORIGINS: 'https://a/': .* https://a$": {**SECRET, "CORS_ORIGINS": "https://a/"},
            "LOG_LEVEL has an invalid value: 'LOUD'": {**SECRET, "LOG_LEVEL": "LOUD"},
            "SCRIPT_NAME: /users begins": {**SECRET, "SCRIPT_NAME": "/users"},
            **{
                f"SCRIPT_NAME has an invalid value: {re.escape(repr(path))}": {
                    **SECRET,
                    "SCRIPT_NAME": path,
                }
                for path in [
                    "directory",
                    "/directory/",
                    "/",
                    "//directory",
                    "/a//b",
                    "/a?b=c",
                    "/a b",
                    "/../a",
                    "http://host/a",
                    "/a\n",
                ]
            },
            "PUBLIC_URL is not set. SMTP_URL requires it": {**MAILS, "PUBLIC_URL": ""},
            "MAIL_FROM is not set. SMTP_URL requires it": {**MAILS, "MAIL_FROM": ""},
            **{
                f"PUBLIC_URL has an invalid value: {re.escape(repr(url))}": {
                    **MAILS,
                    "PUBLIC_URL": url,
                }
                for url in [
                    "users.example",
                    "ftp://users.example",
                    "https://",
                    "https://h:x",
                    "https://h:0",
                    "https://u@h",
                    "https://h/?a",
                    "https://h/#a",
                    "https://h/ä",
                    "https://h /",
                ]
            },
            "DATABASE_URL is not": {**SECRET, "DATABASE_URL": "mysql://h:port/d"},
            "DATABASE_URL: postgresql": {**SECRET, "DATABASE_URL": "postgresql://h/d"},
            "DATABASE_URL: SQLite": {**SECRET, "DATABASE_URL": "sqlite://"},
        }
        for message, variables in cases.items():
            with (
                self.subTest(message),
                environment(**variables),
                self.assertRaisesRegex(ConfigError, message),
            ):
                create_app("project.config.ProductionConfig")

    def test_wrong_database_url_is_refused_by_what_is_wrong(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        garbage = Path(folder, "garbage.pem")
        garbage.write_text("no certificate")
        cases = {
            "mysql+pymysql://h": "it does not name a database; try mysql://",
            "mysql://u:p@h:3306/": "it does not name a database; try mysql://",
            "mysql://h:0/d": "0 is not a port",
            "mysql://h:65536/d": "65536 is not a port",
            "mysql://a..b/d": "a..b is not a host name",
            f"mysql://{'a' * 64}.example/d": "is not a host name",
            "mysql://u:%D1%8F@h/d": "outside Latin-1",
            "mysql+asyncmy://h/d": "asyncmy is not supported; mysql:// alone uses pymysql",
            "sqlite+pysqlcipher:///d": "pysqlcipher is not supported",
            "mysql://h/d?ssl-mode=REQUIRED": "does not support the option 'ssl-mode'. .* ssl_ca=/",
            "mysql://h/d?sslmode=require": "the option 'sslmode'. .* ssl_ca=/",
            "mariadb://h/d?useSSL=true": "the option 'useSSL'. .* ssl_ca=/",
            "mysql://h/d?sslaccept=strict": "the option 'sslaccept'. .* ssl_ca=/",
            "mysql://h/d?ssl_verify_identity=true": "'ssl_verify_identity'. .* ssl_ca=/",
            "mysql://h/d?ssl=true": "the option 'ssl'. .* ssl_ca=/",
            "mysql://h/d?serverTimezone=UTC": "the option 'serverTimezone'. Remove it",
            "mysql://h/d?allowPublicKeyRetrieval=1": "'allowPublicKeyRetrieval'. Remove it",
            "mysql://h/d?reconnect=1": "the option 'reconnect'. Remove it",
            "mysql://h/d?pool_size=5": "the option 'pool_size'. Supported: .*, charset, ",
            "sqlite:///d?sslmode=require": "pysqlite does not support the option 'sslmode'. Supp",
            "mysql://h/d?charset=a&charset=b": "the option charset is repeated",
            "mysql://h/d?connect_timeout=long": "an option has an invalid value: .*'long'",
            "mysql://h/d?ssl_ca=/nowhere": "TLS cannot be set up with ssl_ca=/nowhere: .*No such",
            f"mysql://h/d?ssl_ca={garbage}": "TLS cannot be set up with ssl_ca=",
            f"mysql://h/d?ssl_cert={garbage}": "TLS cannot be set up with ssl_cert=",
            "mysql://h/d?ssl_cipher=none": "TLS cannot be set up with ssl_cipher=none",
        }
        for settings, variable in [
            ("Production", "DATABASE_URL"),
            ("Testing", "DATABASE_TEST_URL"),
        ]:
            for url, message in cases.items():
                with (
                    self.subTest(url),
                    environment(**{variable: url}, **SECRET),
                    self.assertRaisesRegex(ConfigError, f"^{variable}: .*{message}"),
                ):
                    create_app(f"project.config.{settings}Config")

    def test_database_url_without_a_driver_means_pymysql_and_stays_as_it_is(self):
        for backend in ["mysql", "mariadb"]:
            text = f"{backend}://u:p@h:3307/d?charset=utf8mb4"
            with self.subTest(backend), environment(DATABASE_URL=text, **SECRET):
                app = create_app("project.config.ProductionConfig")
                with app.app_context():
                    for engine in db.engines.values():
                        self.assertEqual(engine.dialect.driver, "pymysql")
                        self.assertEqual((engine.url.host, engine.url.port), ("h", 3307))
                self.assertEqual(app.config["SQLALCHEMY_DATABASE_URI"], text)

    def test_driver_that_is_not_installed_is_named(self):
        with (
            mock.patch.object(database_url, "find_spec", return_value=None),
            environment(DATABASE_URL="mysql+mysqldb://h/d", **SECRET),
            self.assertRaisesRegex(ConfigError, "DATABASE_URL: mysqlclient is not installed"),
        ):
            create_app("project.config.ProductionConfig")

    def test_options_of_the_driver_are_taken(self):
        for url in [
            "mysql://h/d?charset=utf8mb4&connect_timeout=3&unix_socket=/s",
            "mysql://h/d?ssl_capath=/etc/ssl/certs&ssl_check_hostname=false",
            "sqlite:////tmp/d?timeout=1",
            "sqlite:///file:/tmp/d?uri=true&mode=ro&nolock=1",
        ]:
            with self.subTest(url), environment(DATABASE_URL=url, **SECRET):
                create_app("project.config.ProductionConfig")

    def test_wrong_mail_settings_are_refused_and_not_repeated(self):
        form = "it must have the form smtp://HOST"
        cases = [
            ("SMTP_URL", "relay", form),
            ("SMTP_URL", "http://relay", form),
            ("SMTP_URL", "smtp://", form),
            ("SMTP_URL", "smtp://relay/path", form),
            ("SMTP_URL", "smtp://u:secret@relay", "would be sent without TLS; add .starttls"),
            ("SMTP_URL", "smtp://u@relay?starttls", "both a user and a password"),
            ("SMTP_URL", "smtps://relay?starttls", "begins with TLS"),
            ("SMTP_URL", "smtp://relay?tls=secret", "starttls is the only option"),
            ("SMTP_URL", "smtp://relay:0", "ports are 1 to 65535"),
            ("SMTP_URL", "smtp://relay:secret", "ports are 1 to 65535"),
            ("MAIL_FROM", "secret", "it must have the form NAME <ADDRESS>"),
            ("MAIL_FROM", "Directory <secret@>", "it must have the form NAME <ADDRESS>"),
            ("MAIL_FROM", "a@b.example\r\nBcc: secret@c.example", "it must have the form NAME"),
            ("MAIL_FROM", "secrét@b.example", "it must have the form NAME <ADDRESS>"),
        ]
        for name, value, message in cases:
            with (
                self.subTest(value),
                environment(**{**MAILS, name: value}),
                self.assertRaisesRegex(ConfigError, f"^{name}: .*{message}") as caught,
            ):
                create_app("project.config.ProductionConfig")
            self.assertNotIn("secret", str(caught.exception))

    def test_mail_settings_are_read(self):
        with environment(**MAILS):
            app = create_app("project.config.ProductionConfig")
        self.assertEqual(app.config["PUBLIC_URL"], "https://users.example/directory")
        for url, server in {
            "smtp://relay": MailServer("relay", 25, "", "", False, False),
            "smtp://u:p%40ss@relay?starttls": MailServer("relay", 587, "u", "p@ss", False, True),
            "smtp://u:p@127.0.0.1:2525/": MailServer("127.0.0.1", 2525, "u", "p", False, False),
            "smtps://u:p@relay": MailServer("relay", 465, "u", "p", True, False),
        }.items():
            with self.subTest(url):
                self.assertEqual(parse_server(url), server)

    def test_wrong_database_url_is_not_repeated(self):
        with environment(DATABASE_URL="user:password@host", **SECRET):
            with self.assertRaises(ConfigError) as caught:
                create_app("project.config.ProductionConfig")
        self.assertNotIn("password", str(caught.exception))


class TestDatabaseTests(unittest.TestCase):
    """The tests' refusal to run on the served database."""

    def test_same_database_sees_through_spellings(self):
        one = "mysql+pymysql://a:b@localhost/users"
        cases = {
            "mysql+mysqldb://c:d@127.0.0.1:3306/users?charset=utf8mb4": True,
            "mariadb+pymysql://localhost/USERS": True,
            "mysql+pymysql://a:b@localhost:3307/users": False,
            "mysql+pymysql://a:b@localhost/users_test": False,
            "sqlite:///users": False,
        }
        for other, same in cases.items():
            with self.subTest(other):
                self.assertIs(same_database(one, other), same)

    def test_served_database_is_refused(self):
        with environment(DATABASE_URL="sqlite:///users_test.db"):
            with self.assertRaisesRegex(RuntimeError, "DATABASE_TEST_URL"):
                refuse_served_database("sqlite:///./users_test.db")

    def test_default_database_is_refused_when_no_url_is_set(self):
        with environment():
            for uri in ["sqlite:///users_dev.db", "sqlite:///users_prod.db"]:
                with self.subTest(uri), self.assertRaises(RuntimeError):
                    refuse_served_database(uri)
