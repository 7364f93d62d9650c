"""Settings: every value is read with its unit, and what cannot be meant is refused."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.config import Config, ConfigError, Sources, default_file, load
from uploadd.settings import SECTIONS
from uploadd.settings.kinds import (
    LARGEST,
    Secret,
    optional,
    read_duration,
    read_rate,
    read_size,
    size,
)

ROOT = Path(__file__).parents[1]
SIZE_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SIZE_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def problem(setting: str, value: object) -> str:
    """What `load` has to say about a wrong *value* of *setting*, and about nothing else."""
    with pytest.raises(ConfigError) as caught:
        load(Sources(flags={setting: value}))
    [said] = caught.value.problems
    return said.message


# --- sizes and durations ------------------------------------------------------------------------


@given(st.integers(0, 4096), st.sampled_from(list(SIZE_UNITS)), st.sampled_from(["", " ", "  "]))
def test_a_size_is_its_number_times_its_unit(number: int, unit: str, space: str) -> None:
    """In any case of letters, with and without a space."""
    for text in (f"{number}{space}{unit}", f" {number}{space}{unit} "):
        for way in (text, text.lower(), text.upper()):
            assert read_size(way) == number * SIZE_UNITS[unit]


@given(st.integers(0, LARGEST))
def test_a_bare_number_is_a_size_in_bytes(number: int) -> None:
    """As a TOML integer, and with the unit B as text."""
    assert read_size(number) == number
    assert read_size(f"{number} B") == number


def test_a_size_may_have_decimals() -> None:
    """Exactly, and cut off to whole bytes."""
    assert read_size("1.5 GiB") == 3 * 2**29
    assert read_size("0.1 KiB") == 102


def test_the_largest_size_is_two_to_the_53_minus_one() -> None:
    """One byte more does not fit into every JSON reader's integers."""
    assert read_size(LARGEST) == LARGEST
    for value in (LARGEST + 1, -1, "8192 TiB"):
        with pytest.raises(ValueError, match="not between 0 and"):
            read_size(value)


@pytest.mark.parametrize(
    "text", ["", "8", "MiB", "8 M", "8 MiBs", "-1 B", "1e3 B", "٣ B", True, 1.5]
)
def test_what_is_no_size_is_refused_with_an_example(text: object) -> None:
    """A number without unit as text, a unit alone, an ambiguous unit, other digits."""
    with pytest.raises(ValueError, match='such as "8 MiB"'):
        read_size(text)


@pytest.mark.parametrize("none", ["none", None])
def test_a_limit_may_be_none(none: object) -> None:
    """TOML has no null, so the word stands for it."""
    assert optional(size()).read(none) is None
    assert optional(size()).read("10GB") == 10**10


@given(st.integers(1, 10**6), st.sampled_from(list(SECONDS)), st.sampled_from(["", " "]))
def test_a_duration_is_its_number_times_its_unit(number: int, unit: str, space: str) -> None:
    """In seconds."""
    assert read_duration(f"{number}{space}{unit}") == pytest.approx(number * SECONDS[unit])


def test_durations_are_exact_where_floats_can_be() -> None:
    """200 ms is the same float as 0.2."""
    assert (read_duration("200 ms"), read_duration("1.5 s"), read_duration("2m")) == (0.2, 1.5, 120)


@pytest.mark.parametrize("text", ["15", 15, 15.0, "s", "5 sec", "-1 s", "", True])
def test_a_duration_without_its_unit_is_refused(text: object) -> None:
    """Nobody has to guess whether 30 means seconds or milliseconds."""
    with pytest.raises(ValueError, match="with its unit"):
        read_duration(text)


def test_a_duration_of_nothing_is_refused() -> None:
    """It would refuse every peer."""
    with pytest.raises(ValueError, match="longer than nothing"):
        read_duration("0 s")


@given(st.integers(1, 4096), st.sampled_from(list(SIZE_UNITS)), st.sampled_from(["/s", " / s"]))
def test_a_rate_is_a_size_a_second(number: int, unit: str, second: str) -> None:
    """In bytes."""
    assert read_rate(f"{number} {unit}{second}") == number * SIZE_UNITS[unit]


@pytest.mark.parametrize("text", ["5", 5, "5 MB", "5 MB/m", "MB/s", "5/s", "-5 MB/s", True, None])
def test_what_is_no_rate_is_refused(text: object) -> None:
    """With an example."""
    with pytest.raises(ValueError, match='such as "10 MB/s"'):
        read_rate(text)


def test_a_rate_of_nothing_is_refused() -> None:
    """It would stop everybody."""
    with pytest.raises(ValueError, match="not between 1 byte"):
        read_rate("0 B/s")


# --- the settings themselves --------------------------------------------------------------------


NAMES = [(name, key) for name, section in SECTIONS.items() for key in section.settings]


def test_every_setting_and_section_says_what_it_is() -> None:
    """In whole sentences, for who reads the file."""
    for name, section in SECTIONS.items():
        assert section.about.endswith("."), name
        for key, setting in section.settings.items():
            assert re.fullmatch(r"[A-Z\"].*[.]", setting.why), (name, key)


def test_the_shipped_file_is_what_the_settings_say() -> None:
    """If not: make settings."""
    assert (ROOT / "conf/uploadd.toml").read_text() == default_file(SECTIONS)


def test_the_default_file_holds_every_setting_with_its_default() -> None:
    """With each commented value uncommented it is Config(), and as it stands too."""
    text = default_file(SECTIONS)
    assert max(map(len, text.splitlines())) <= 100
    assert load(Sources(files=[("u.toml", text)])).config == Config()
    once = {name: section for name, section in SECTIONS.items() if not section.repeated}
    everything = re.sub(r"(?m)^#(?=\w+ = )", "", default_file(once))
    loaded = load(Sources(files=[("u.toml", everything)]))
    assert loaded.config == Config()
    assert list(loaded.written) == [name for name in NAMES if name[0] in once]


def test_a_configuration_cannot_be_changed() -> None:
    """It is read once and the same everywhere."""
    with pytest.raises(AttributeError):
        Config().server.port = 1  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    ("setting", "good", "bad"),
    [
        ("server.port", [0, 65535], [-1, 65536]),
        ("durability.flush_bytes", [1, LARGEST], [0]),
        ("limits.memory", ["4 MiB"], [2**20 - 1]),
        ("limits.max_sessions", [1, 1_000_000], [0, 1_000_001]),
        ("limits.max_chunk", ["16 KiB", "16 MiB"], [2**14 - 1, 2**24 + 1]),
        ("server.host", ["::1"], [""]),
        ("log.level", ["debug", "error"], ["INFO", ""]),
        ("storage.mode", ["600", "0640", "0777"], ["1777", "0244", "rw", 420, ""]),
    ],
)
def test_each_bound_holds_on_both_sides(setting: str, good: list[Any], bad: list[Any]) -> None:
    """The last value inside is taken, the first outside refused by the setting's name."""
    for value in good:
        load(Sources(flags={setting: value}))
    for value in bad:
        assert re.match(f"{setting}: (expected|.*daemon from)", problem(setting, value))


@pytest.mark.parametrize("path", ["{name}", "{date}/{name}", "{subject}/{id}/{name}", "x-{id}"])
def test_a_path_may_use_the_fields(path: str) -> None:
    """Name, date, id and subject, in any folder."""
    assert load(Sources(flags={"storage.path": path})).config.storage.path == path


@pytest.mark.parametrize(
    "path",
    [
        *["", "/{name}", "../{name}", "a/./{name}", "{name}/", "a//{name}", "{date}", "{name}/x"],
        *["{size}", "{}", "{name!r}", "{name:>9}", "{name", "name}", ".uploadd/{name}", "{name}\n"],
        5,
    ],
)
def test_a_path_that_leads_out_or_clashes_is_refused(path: object) -> None:
    """Outside of the folder, into our own, one name for all, or a field that does not exist."""
    assert problem("storage.path", path).startswith("storage.path: ")


def test_names_and_origins_are_as_browsers_send_them() -> None:
    """Lower case, and without the scheme's own port."""
    text = (
        '[server]\nnames = ["Files.Example.com", "[2001:db8::1]"]\n'
        'origins = ["https://A.example:443", "http://b:80", "http://c:8080", "capacitor://d"]'
    )
    server = load(Sources(files=[("u.toml", text)])).config.server
    assert server.names == ("files.example.com", "[2001:db8::1]")
    assert server.origins == ("https://a.example", "http://b", "http://c:8080", "capacitor://d")


@pytest.mark.parametrize("name", ["https://x", "x:8080", "x/y", "*", "a b"])
def test_a_name_is_only_a_host(name: str) -> None:
    """Scheme, port and path would never match."""
    assert f'server.names: "{name}" is not a host name' in problem("server.names", [name])


@pytest.mark.parametrize("origin", ["https://x/", "x", "null", "*", "https://x:", "//x"])
def test_an_origin_has_a_scheme_and_no_path(origin: str) -> None:
    """Anything else is never what a browser sends, or is everybody."""
    assert f'"{origin}" is not an origin' in problem("server.origins", [origin])


def test_a_secret_is_not_shown_by_accident() -> None:
    """In a traceback, a log or a printed configuration; asked for as text it is there."""
    assert repr(Secret("hunter2")) == "Secret(hidden)"
    assert f"{[Secret('hunter2')]}" == "[Secret(hidden)]"
    assert str.__str__(Secret("hunter2")) == "hunter2"


def test_config_can_be_copied_with_changes() -> None:
    """As tests do."""
    server = dataclasses.replace(Config().server, port=0)
    assert dataclasses.replace(Config(), server=server).server.port == 0
