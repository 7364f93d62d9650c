"""Configuration: layers, and every mistake named with its place, all at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.config import Config, ConfigError, load
from uploadd.settings import SETTINGS

NAMES = [(section, key) for section, keys in SETTINGS.items() for key in keys]


def problems(text: str | None = None, sets: tuple[str, ...] = (), **flags: object) -> list[str]:
    """What `load` has to say about a configuration that is wrong."""
    with pytest.raises(ConfigError) as caught:
        load(text, "u.toml", sets, {name.replace("__", "."): v for name, v in flags.items()})
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


# --- layers -------------------------------------------------------------------------------------


def test_no_configuration_at_all_is_the_defaults() -> None:
    """Neither file nor flags are needed."""
    assert load(None, None, (), {}) == load() == load("", "u.toml") == Config()


@given(*[st.none() | st.integers(0, 65535)] * 3)
def test_the_last_layer_that_says_something_wins(
    file: int | None, flag: int | None, named: int | None
) -> None:
    """Defaults, then the file, then --set, then flags with names of their own."""
    text = f"[server]\nport = {file}" if file is not None else None
    sets = (f"server.port={flag}",) if flag is not None else ()
    layers = [8080, file, flag, named]
    expected = [port for port in layers if port is not None][-1]
    assert load(text, "u.toml", sets, {"server.port": named}).server.port == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("server.port=81", 81),
        ("server.port = 81", 81),
        ("server.names=a.example,b.example", ("a.example", "b.example")),
        ('server.names=["a.example"]', ("a.example",)),
        ("server.names=", ()),
        ("storage.dir=/srv/a=b #1", "/srv/a=b #1"),
        ("storage.dir=2026", "2026"),
        ('storage.dir="quoted"', "quoted"),
        ("storage.mode=0600", 0o600),
        ("storage.mode=600", 0o600),
        ("limits.max_length=none", None),
        ("limits.max_length=10 GB", 10**10),
        ("timeouts.head=2m", 120.0),
        ("log.level=debug", "debug"),
    ],
)
def test_set_takes_toml_or_plain_text(text: str, value: object) -> None:
    """Whichever fits the setting: a shell user need not quote twice."""
    section, key = text.partition("=")[0].strip().split(".")
    config = load(sets=["server.port=1", text])
    assert getattr(getattr(config, section), key) == value


@pytest.mark.parametrize(
    "text", ["", "server", "server.port", "server=1", "=1", ".=1", "server.=1"]
)
def test_set_without_section_key_and_value_is_refused(text: str) -> None:
    """The message says how to write it."""
    assert problems(sets=(text,)) == [f"--set {text}: write it as section.key=value"]


def test_a_folder_whose_name_is_not_unicode_is_taken() -> None:
    """As Python gives it from the command line, with surrogates."""
    assert load(overrides={"storage.dir": "caf\udce9"}).storage.dir == "caf\udce9"


# --- mistakes -----------------------------------------------------------------------------------


@given(st.text(), st.lists(st.text()), st.text())
def test_nothing_but_config_error_is_ever_raised(text: str, sets: list[str], key: str) -> None:
    """Whatever stands in the file, in --set and in a flag."""
    for file, words, flags in ((text, [], {}), (None, sets, {key: text})):
        try:
            load(file, "u.toml", words, flags)
        except ConfigError as error:
            assert error.problems  # noqa: PT017 - most texts are wrong, the empty one is not


@given(st.sampled_from(NAMES), st.text(st.characters(codec="utf-8"), max_size=20))
def test_any_text_for_any_setting_is_a_value_or_a_problem(name: tuple[str, str], text: str) -> None:
    """In a flag and in --set; the problem names the setting."""
    setting = ".".join(name)
    try:
        load(sets=[f"{setting}={text}"])
        load(overrides={setting: text})
    except ConfigError as error:
        assert setting in error.problems[0]  # noqa: PT017 - both ends are right


@pytest.mark.parametrize(("section", "key"), NAMES)
@pytest.mark.parametrize(
    "value", ["true", "1.5", "2026-01-31", "[[]]", "{}", "99999999999999999999"]
)
def test_a_value_of_the_wrong_type_names_file_line_and_setting(
    section: str, key: str, value: str
) -> None:
    """For every setting there is."""
    [problem] = problems(f"# one\n[{section}]\n\n{key} = {value}\n")
    assert problem.startswith(f"u.toml:4: {section}.{key}: ")
    assert "expected " in problem or "not between" in problem


@pytest.mark.parametrize(("section", "key"), NAMES)
def test_a_misspelt_key_is_named_with_the_right_one(section: str, key: str) -> None:
    """In the file with its line, and in --set."""
    misspelt = key[:-1] + "xx" if len(key) > 4 else key + "x"
    message = f'unknown key "{misspelt}" in [{section}]; did you mean "{key}"?'
    assert problems(f'[{section}]\n{misspelt} = "x"') == [f"u.toml:2: {message}"]
    assert problems(sets=(f"{section}.{misspelt}=x",)) == [f"--set: {message}"]


@pytest.mark.parametrize("section", SETTINGS)
def test_a_misspelt_section_is_named_once_with_the_right_one(section: str) -> None:
    """Not once for each key in it."""
    message = f'unknown section "{section}s"; did you mean "{section}"?'
    assert problems(f"\n[{section}s]\na = 1\nb = 2") == [f"u.toml:2: {message}"]
    assert problems(sets=(f"{section}s.a=1",)) == [f"--set: {message}"]


def test_a_key_in_the_wrong_place_is_told_its_section() -> None:
    """In another section, and outside of all."""
    assert problems("port = 1\n[storage]\nmax_length = 1") == [
        'u.toml:1: "port" stands outside of a section; it belongs to [server]',
        'u.toml:3: unknown key "max_length" in [storage]; it belongs to [limits]',
    ]
    assert problems("answer = 42") == ['u.toml:1: "answer" stands outside of a section']


def test_a_section_that_is_none_is_told_how_to_be_one() -> None:
    """A value, and an array of tables."""
    assert problems("server = 1\n[[log]]\nlevel = 'info'") == [
        'u.toml:1: "server" is a section: write [server], once',
        'u.toml:2: "log" is a section: write [log], once',
    ]


def test_a_syntax_error_has_line_and_column() -> None:
    """In the form that editors jump to."""
    [problem] = problems("[server]\nport = = 1")
    assert problem == "u.toml:2:8: Invalid value"
    assert problems("x = " + "9" * 5000)[0].startswith("u.toml: ")


def test_a_byte_order_mark_is_no_mistake() -> None:
    """Some editors write one."""
    assert load("\ufeff[server]\nport = 81\r\n").server.port == 81


@given(st.lists(st.sampled_from(NAMES), unique=True, min_size=1), st.data())
def test_every_mistake_is_told_at_once_with_its_line(
    names: list[tuple[str, str]], data: st.DataObject
) -> None:
    """As many problems as mistakes, in every way to write a key, among good ones and comments."""
    lines: list[str] = []
    expected = []
    for section in dict(names):
        keys = [key for owner, key in names if owner == section]
        header = data.draw(st.sampled_from(["[{}]", "[ {} ]  # server.port = 1", '["{}"]']))
        lines += ["", header.format(section)]
        for key in keys:
            style = data.draw(st.sampled_from(["{} = true", '  "{}"=true # no', "'{}'\t= true"]))
            lines += [f"# {key} = 1", style.format(key)]
            expected.append(f"u.toml:{len(lines)}: {section}.{key}: ")
    found = problems("\n".join(lines))
    assert len(found) == len(expected)
    for problem, start in zip(found, expected, strict=True):
        assert problem.startswith(start)


def test_dotted_keys_and_inline_tables_are_found_too() -> None:
    """TOML has more than one way to write a section."""
    found = problems("log.level = 1\nserver = { prot = 1 }\n[timeouts.head]\nx = 1")
    assert [problem.split(" ")[0] for problem in found] == ["u.toml:1:", "u.toml:2:", "u.toml:3:"]


def test_mistakes_of_all_layers_come_together() -> None:
    """File, --set and flags, in this order, also where a later layer covers an earlier one."""
    found = problems("[server]\nport = 'x'", ("server.port=y",), server__port=70000)
    assert [problem.split(" server")[0] for problem in found] == [
        "u.toml:2:",
        "--set:",
        "command line:",
    ]


def test_long_values_are_cut_in_messages() -> None:
    """A page pasted into a value does not fill the terminal."""
    [problem] = problems(sets=("log.level=" + "x" * 5000,))
    assert len(problem) < 200


def test_settings_that_contradict_each_other_are_refused() -> None:
    """Each value alone would do."""
    [ping, memory] = problems(sets=("timeouts.ping=60 s", "limits.memory=4194303"))
    assert ping.startswith("timeouts.ping must be shorter than timeouts.idle")
    assert memory.startswith("limits.memory must hold four of limits.max_chunk")
