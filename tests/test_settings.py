"""Settings: every value is read with its unit, and what cannot be meant is refused."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd import settings
from uploadd.config import Config, ConfigError, load
from uploadd.settings import LARGEST, SETTINGS, read_duration, read_limit, read_size

ROOT = Path(__file__).parents[1]
SIZE_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SIZE_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def problem(setting: str, value: object) -> str:
    """What `load` has to say about a wrong *value* of *setting*, and about nothing else."""
    with pytest.raises(ConfigError) as caught:
        load(overrides={setting: value})
    [said] = caught.value.problems
    return said


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
    for size in (LARGEST + 1, -1, "8192 TiB"):
        with pytest.raises(ValueError, match="not between 0 and"):
            read_size(size)


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
    assert read_limit(none) is None
    assert read_limit("10GB") == 10**10


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


# --- the settings themselves --------------------------------------------------------------------


def test_every_setting_says_what_it_is() -> None:
    """Each field has a docstring under it."""
    for kind in ast.parse(inspect.getsource(settings)).body:
        if not isinstance(kind, ast.ClassDef) or kind.name == "Config":
            continue
        for field, after in zip(kind.body[1::2], kind.body[2::2], strict=True):
            assert isinstance(field, ast.AnnAssign)
            assert isinstance(after, ast.Expr), ast.unparse(field)
            assert isinstance(after.value, ast.Constant)
            assert isinstance(after.value.value, str)


def test_the_shipped_file_holds_every_setting_with_its_default() -> None:
    """With each commented value uncommented it is Config(), and as it stands too."""
    text = (ROOT / "conf/uploadd.toml").read_text()
    assert load(text) == Config()
    everything = re.sub(r"(?m)^#(?=\w+ = )", "", text)
    assert load(everything) == Config()
    written = {
        (section, key) for section, keys in tomllib.loads(everything).items() for key in keys
    }
    assert written == {(section, key) for section, keys in SETTINGS.items() for key in keys}


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
        load(overrides={setting: value})
    for value in bad:
        with pytest.raises(ConfigError, match=f"^command line: {setting}: expected|daemon from"):
            load(overrides={setting: value})


@pytest.mark.parametrize("path", ["{name}", "{date}/{name}", "{subject}/{id}/{name}", "x-{id}"])
def test_a_path_may_use_the_fields(path: str) -> None:
    """Name, date, id and subject, in any folder."""
    assert load(overrides={"storage.path": path}).storage.path == path


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
    assert problem("storage.path", path).startswith("command line: storage.path: ")


def test_names_and_origins_are_as_browsers_send_them() -> None:
    """Lower case, and without the scheme's own port."""
    server = load(
        '[server]\nnames = ["Files.Example.com", "[2001:db8::1]"]\n'
        'origins = ["https://A.example:443", "http://b:80", "http://c:8080", "capacitor://d"]'
    ).server
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


def test_config_is_a_plain_struct() -> None:
    """Other code may copy it with changes, as tests do."""
    server = msgspec.structs.replace(Config().server, port=0)
    assert msgspec.structs.replace(Config(), server=server).server.port == 0
