"""Configuration: layers, and every mistake named with its place, all at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.config import Config, ConfigError, Sources, changed, effective, load, reloaded, settle
from uploadd.settings import SECTIONS, Secret
from uploadd.settings.declare import repeated, section, setting
from uploadd.settings.kinds import SECRET, TEXT, count

NAMES = [
    (name, key)
    for name, section in SECTIONS.items()
    if not section.repeated
    for key in section.settings
]


def config(
    text: str | None = None,
    sets: tuple[str, ...] = (),
    flags: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """The configuration of one file and whatever else speaks."""
    files = [("u.toml", text)] if text is not None else []
    sources = Sources(files=files, sets=sets, flags=flags or {}, environment=environment or {})
    return load(sources).config


def told(load: Callable[[], object]) -> list[str]:
    """Every mistake that *load* finds, as text."""
    with pytest.raises(ConfigError) as caught:
        load()
    said = [str(problem) for problem in caught.value.problems]
    assert str(caught.value) == "\n".join(said)
    return said


def problems(text: str | None = None, sets: tuple[str, ...] = (), **flags: object) -> list[str]:
    """The first lines of what is wrong: where, and what happened."""
    given = {name.replace("__", "."): value for name, value in flags.items()}
    return [said.split("\n")[0] for said in told(lambda: config(text, sets, given))]


# --- layers -------------------------------------------------------------------------------------


def test_no_configuration_at_all_is_the_defaults() -> None:
    """Neither file nor flags are needed."""
    assert load().config == config("") == Config()
    assert load().written == {}


@given(*[st.none() | st.integers(0, 65535)] * 5)
def test_the_last_layer_that_says_something_wins(
    file: int | None, later: int | None, variable: int | None, flag: int | None, named: int | None
) -> None:
    """Defaults, a file, a later file, the environment, --set, flags; and it is told who won."""

    def text(port: int | None) -> str:
        return f"[server]\nport = {port}" if port is not None else ""

    sources = Sources(
        files=[("u.toml", text(file)), ("conf.d/1.toml", text(later))],
        environment={"UPLOADD_SERVER__PORT": str(variable)} if variable is not None else {},
        sets=[f"server.port={flag}"] if flag is not None else [],
        flags={"server.port": named},
    )
    names = ("u.toml:2", "conf.d/1.toml:2", "UPLOADD_SERVER__PORT", "--set", "--port")
    layers = zip(names, (file, later, variable, flag, named), strict=True)
    said = [(name, port) for name, port in layers if port is not None]
    loaded = load(sources)
    assert loaded.config.server.port == (said[-1][1] if said else 8080)
    origin = said[-1][0] if said else "default"
    assert f"# {origin}" in re.search("^port = .*", effective(loaded), re.MULTILINE)[0]  # type: ignore[index]


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
    variable = {f"UPLOADD_{section}__{key}".upper(): text.partition("=")[2]}
    for got in (config(sets=("server.port=1", text)), config(environment=variable)):
        assert getattr(getattr(got, section), key) == value


@pytest.mark.parametrize(
    "text", ["", "server", "server.port", "server=1", "=1", ".=1", "server.=1"]
)
def test_set_without_section_key_and_value_is_refused(text: str) -> None:
    """The message says how to write it."""
    assert problems(sets=(text,)) == [f"--set {text}: write it as section.key=value"]


@pytest.mark.parametrize("name", ["PATH", "UPLOADD", "UPLOADD_", "UPLOADD_TOKEN", "UPLOADDLOG__X"])
def test_other_variables_are_nobodys_business(name: str) -> None:
    """The client has some of its own."""
    assert config(environment={name: "x"}) == Config()


def test_a_variable_with_one_underscore_is_told_to_have_two() -> None:
    """Nobody would notice that it does nothing."""
    [said] = told(lambda: config(environment={"UPLOADD_LIMITS_MAX_CHUNK": "1 MiB"}))
    assert said == (
        "UPLOADD_LIMITS_MAX_CHUNK: is no setting\n"
        "→ two underscores between section and key: UPLOADD_LIMITS__MAX_CHUNK=1 MiB"
    )


def test_a_folder_whose_name_is_not_unicode_is_taken() -> None:
    """As Python gives it from the command line, with surrogates; and what looks like TOML."""
    for name in ("caf\udce9", "2026", '"quoted"'):
        assert config(flags={"storage.dir": name}).storage.dir == name


# --- mistakes -----------------------------------------------------------------------------------


@given(st.text(), st.lists(st.text()), st.text())
def test_nothing_but_config_error_is_ever_raised(text: str, sets: list[str], key: str) -> None:
    """Whatever stands in the file, in --set and in a flag."""
    for file, words, flags in ((text, [], {}), (None, sets, {key: text})):
        try:
            config(file, tuple(words), flags)
        except ConfigError as error:
            assert error.problems  # noqa: PT017 - most texts are wrong, the empty one is not


@pytest.mark.parametrize(
    "text", ["[" * 9999, "[" * 99 + "]" * 99, "{a = " * 999, "{b" + ".a" * 999 + " = 1}"]
)
def test_what_stands_too_deep_is_a_mistake(text: str) -> None:
    """In the file it is told so; elsewhere it is plain text, which is none of this setting."""
    deep = "tables and lists stand too deep in one another"
    assert problems(f"[server]\nport = {text}") == [f"u.toml: {deep}"]
    assert "expected" in problems(sets=(f"server.port={text}",))[0]


@given(st.sampled_from(NAMES), st.text(st.characters(codec="utf-8"), max_size=20))
def test_any_text_for_any_setting_is_a_value_or_a_problem(name: tuple[str, str], text: str) -> None:
    """In a flag and in --set; the problem names the setting."""
    setting = ".".join(name)
    try:
        config(sets=(f"{setting}={text}",))
        config(flags={setting: text})
    except ConfigError as error:
        assert setting in str(error.problems[0])  # noqa: PT017 - both ends are right


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
    """In the file with its line, in --set and in the environment."""
    misspelt = key[:-1] + "xx" if len(key) > 4 else key + "x"
    message = f'unknown key "{misspelt}" in [{section}]'
    meant = f'did you mean "{key}"?'
    [in_file] = told(lambda: config(f'[{section}]\n  {misspelt} = "x"\n'))
    carets = "^" * len(misspelt)
    assert in_file.split("\n") == [
        f"u.toml:2: {message}",
        f'    2 │   {misspelt} = "x"',
        f"      │   {carets} {meant}",
    ]
    variable = f"UPLOADD_{section}__{misspelt}".upper()
    for found, place in (
        (told(lambda: config(sets=(f"{section}.{misspelt}=x",))), "--set"),
        (told(lambda: config(environment={variable: "x"})), variable),
    ):
        assert found == [f"{place}: {message}\n→ {meant}"]


@pytest.mark.parametrize("section", SECTIONS)
def test_a_misspelt_section_is_named_once_with_the_right_one(section: str) -> None:
    """Not once for each key in it."""
    message = f'unknown section "{section}s"'
    [said] = told(lambda: config(f"\n[{section}s]\na = 1\nb = 2"))
    assert said.startswith(f"u.toml:2: {message}\n")
    assert said.endswith(f'^ did you mean "{section}"?')
    assert problems(sets=(f"{section}s.a=1",)) == [f"--set: {message}"]


def hints(text: str) -> list[str]:
    """What is to be written instead, for each mistake in a file."""
    return [said.split("^ ")[-1] for said in told(lambda: config(text))]


def test_what_resembles_nothing_is_told_what_there_is() -> None:
    """A key in a section, and a section."""
    assert hints('[tls]\ncertificate = "x"') == ["there is cert, key, handshake"]
    assert hints("[encryption]")[0].startswith("there is server, storage, ")


def test_a_key_in_the_wrong_place_is_told_its_section() -> None:
    """In another section, and outside of all."""
    text = "port = 1\n[storage]\nmax_length = 1"
    assert problems(text) == [
        'u.toml:1: "port" stands outside of a section',
        'u.toml:3: unknown key "max_length" in [storage]',
    ]
    assert hints(text) == ["it belongs to [server]", "it belongs to [limits]"]
    text = 'secret_file = "/x"\n[server]\nsecret_file = "/x"\n[hook]\nsecret_file = "/x"'
    assert hints(text) == ["it belongs to [hook.NAME]"] * 3
    assert problems("answer = 42") == ['u.toml:1: "answer" stands outside of a section']


def test_a_section_that_is_none_is_told_how_to_be_one() -> None:
    """A value, and an array of tables."""
    text = "server = 1\n[[log]]\nlevel = 'info'"
    assert problems(text) == ['u.toml:1: "server" is a section', 'u.toml:2: "log" is a section']
    assert hints(text) == ["write [server], once", "write [log], once"]


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("[timeouts]\nhead = 15", 'for example: head = "15 s"'),
        ("[limits]\nmax_length = '12 Gigs'", 'for example: max_length = "10 GiB"'),
        ("[server]\nnames = 'a.example'", 'for example: names = ["files.example.com"]'),
        ("[limits]\nmemory = 256 MiB", 'stand in quotes: memory = "256 MiB"'),
        ("[server]\nhost = 0.0.0.0  # all", 'stand in quotes: host = "0.0.0.0"'),
    ],
)
def test_what_is_to_be_typed_instead_is_told(text: str, instead: str) -> None:
    """Also where it is not TOML at all: most forget the quotes."""
    [hint] = hints(text)
    assert hint.endswith(instead)


def test_a_syntax_error_has_line_and_column() -> None:
    """In the form that editors jump to."""
    [problem] = problems("[server]\nport = = 1")
    assert problem == "u.toml:2:8: Invalid value"
    assert problems("x = " + "9" * 5000)[0].startswith("u.toml: ")


def test_a_byte_order_mark_is_no_mistake() -> None:
    """Some editors write one."""
    assert config("\ufeff[server]\nport = 81\r\n").server.port == 81


@given(st.lists(st.sampled_from(NAMES), unique=True, min_size=1), st.data())
def test_every_mistake_is_told_at_once_with_its_line(
    names: list[tuple[str, str]], data: st.DataObject
) -> None:
    """As many problems as mistakes, in every way to write a key, among good ones and comments."""
    lines: list[str] = []
    expected = []
    for owner in dict(names):
        keys = [key for own, key in names if own == owner]
        header = data.draw(st.sampled_from(["[{}]", "[ {} ]  # server.port = 1", '["{}"]']))
        lines += ["", header.format(owner)]
        for key in keys:
            style = data.draw(st.sampled_from(["{} = true", '  "{}"=true # no', "'{}'\t= true"]))
            lines += [f"# {key} = 1", style.format(key)]
            expected.append(f"u.toml:{len(lines)}: {owner}.{key}: ")
    found = problems("\n".join(lines))
    assert len(found) == len(expected)
    for problem, start in zip(found, expected, strict=True):
        assert problem.startswith(start)


def test_dotted_keys_and_inline_tables_are_found_too() -> None:
    """TOML has more than one way to write a section."""
    found = problems("log.level = 1\nserver = { prot = 1 }\n[timeouts.head]\nx = 1")
    assert [line.split(" ")[0] for line in found] == ["u.toml:1:", "u.toml:2:", "u.toml:3:"]


def test_mistakes_of_all_layers_come_together() -> None:
    """File, --set and flags, in this order, also where a later layer covers an earlier one."""
    found = problems("[server]\nport = 'x'", ("server.port=y",), server__port=70000)
    assert [problem.split(" server")[0] for problem in found] == [
        "u.toml:2:",
        "--set:",
        "--port:",
    ]


def test_long_values_are_cut_in_messages() -> None:
    """A page pasted into a value does not fill the terminal."""
    [problem] = problems(sets=("log.level=" + "x" * 5000,))
    assert len(problem) < 200


def test_settings_that_contradict_each_other_are_refused_where_they_were_written() -> None:
    """Each value alone would do."""
    text = '[timeouts]\nping = "60 s"\n[limits]\nmemory = 4194303'
    [memory, ping] = told(lambda: config(text))
    assert memory.startswith("u.toml:4: limits.memory must hold four of limits.max_chunk")
    assert memory.endswith('^^^^^^ memory = "4 MiB" or more, or a smaller limits.max_chunk')
    assert ping.startswith("u.toml:2: timeouts.ping must be shorter than timeouts.idle")
    [early] = told(lambda: config('[timeouts]\nidle = "20 s"'))
    assert early.startswith("configuration: timeouts.ping must be shorter")
    assert early.endswith('\n→ ping = "10 s", or a longer timeouts.idle')


# --- secrets, and sections that come more than once; nothing in Config is needed for it -----------


@section
class Main:
    """One section, once."""

    url: str = setting(TEXT, "", "Where it is.")
    tries: int = setting(count(), 3, "How often.", reloads=True)
    key: Secret = setting(SECRET, "", "What signs it.")


@section
class Hook:
    """Whom to tell."""

    url: str = setting(TEXT, "", "Where it is.", reloads=True)
    tries: int = setting(count(), 3, "How often.", reloads=True)
    key: Secret = setting(SECRET, "", "What signs it.", reloads=True)


@section
class Hooked:
    """All settings of a daemon with hooks."""

    main: Main = Main()
    hook: Mapping[str, Hook] = repeated(Hook)


def hooked(
    text: str = "", credentials: Mapping[str, str] | None = None, *sets: str, **environment: str
) -> Hooked:
    """What comes of a file, and of whatever else speaks."""
    files = {"/keys/a": "from a file\n", "/keys/empty": "\n"}

    def read_file(path: str) -> str:
        if path not in files:
            raise ValueError(f"cannot read {path}: No such file or directory")
        return files[path]

    sources = Sources(
        files=[("u.toml", text)],
        credentials=credentials or {},
        environment=environment,
        sets=sets,
    )
    loaded = settle(Hooked, sources, read_file=read_file)
    shown = effective(loaded)
    for secret in ("from a file", "from systemd", "from a variable"):
        assert secret not in shown
    return loaded.config


def test_a_secret_comes_by_file_credential_or_environment() -> None:
    """In this order, the later over the earlier; the file's line break is not part of it."""
    text = '[main]\nkey_file = "/keys/a"'
    assert hooked().main.key == ""
    assert hooked(text).main.key == "from a file"
    credential = {"main.key": "from systemd\n", "another.key": "for others"}
    assert hooked(text, credential).main.key == "from systemd"
    variables = {"UPLOADD_MAIN__KEY": "from a variable"}
    assert hooked(text, credential, **variables).main.key == "from a variable"
    assert hooked("", {}, "main.key_file=/keys/a").main.key == "from a file"
    assert hooked("", {}, UPLOADD_MAIN__KEY_FILE="/keys/a").main.key == "from a file"


def test_a_secret_is_refused_where_others_can_read_it() -> None:
    """In the file and among the arguments; the message does not repeat it."""
    [in_file] = told(lambda: hooked('[main]\nkey = "hunter2"'))
    assert in_file.startswith("u.toml:2: main.key is a secret: others could read it here\n")
    assert in_file.endswith('^^^ write key_file = "/etc/uploadd/keys/…"')
    [argument] = told(lambda: hooked("", {}, "main.key=hunter2"))
    assert "hunter2" not in argument
    assert argument.endswith('\n→ write --set main.key_file="/etc/uploadd/keys/…"')


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ('"/keys/none"', "cannot read /keys/none: No such file or directory"),
        ('"/keys/empty"', "expected a secret, and there is nothing"),
        ("5", "expected the path of a file"),
    ],
)
def test_a_file_without_a_secret_is_a_mistake_with_its_place(path: str, reason: str) -> None:
    """Not there, empty, or no path at all."""
    [said] = told(lambda: hooked(f"[main]\nkey_file = {path}"))
    assert said.startswith(f"u.toml:2: main.key_file: {reason}\n")


def test_a_repeated_section_has_a_name_each_time() -> None:
    """Every layer can add to one that is there."""
    text = '[hook.a]\nurl = "x"\n[hook.b]\nkey_file = "/keys/a"'
    got = hooked(text, {"hook.b.key": "from systemd"}, "hook.a.tries=5", UPLOADD_HOOK__C__URL="z")
    assert got.hook == {
        "a": Hook(url="x", tries=5),
        "b": Hook(key=Secret("from systemd")),
        "c": Hook(url="z"),
    }


def test_mistakes_in_repeated_sections_have_their_places_too() -> None:
    """Unknown keys, values, and a section that lacks its name."""
    found = told(lambda: hooked("[hook.a]\nurll = 'x'\ntries = 0\n[hook.b]\n[hook]\nurl = 'x'"))
    assert [said.split("\n")[0] for said in found] == [
        'u.toml:2: unknown key "urll" in [hook.a]',
        "u.toml:3: hook.a.tries: expected at least 1, not 0",
        'u.toml:6: "url" stands outside of a section',
    ]
    assert told(lambda: hooked("", {}, "hook.url=x"))[0].startswith('--set: unknown key "url" in')


def test_what_has_changed_is_found_with_what_is_known_of_it() -> None:
    """For a reload: settings, and repeated sections that come and go."""
    old = hooked('[main]\nurl = "x"\n[hook.a]\nurl = "y"')
    new = hooked("[main]\ntries = 5\n[hook.b]\ntries = 4")
    assert [(path, setting.reloads) for path, setting in changed(old, new)] == [
        (("main", "url"), False),
        (("main", "tries"), True),
        (("hook", "a", "url"), True),
        (("hook", "b", "tries"), True),
    ]
    assert list(changed(old, old)) == []


def test_what_comes_and_goes_with_a_reload_must_reload() -> None:
    """Whoever declares it otherwise hears of it at once."""
    with pytest.raises(TypeError, match=r"Main\.url is in a repeated section: reloads=True"):
        repeated(Main)


def test_a_reload_changes_what_can_and_tells_what_waits() -> None:
    """The old value stays until a restart; what does not go together is a mistake."""
    text = '[server]\nport = 1\nnames = ["a"]\n[limits]\nmemory = "8 MiB"'
    new = load(Sources(files=[("u.toml", text)]))
    mixed, waiting = reloaded(Config(), new)
    assert waiting == ["server.port", "limits.memory"]
    assert (mixed.server.port, mixed.server.names) == (8080, ("a",))
    assert mixed.limits == Config().limits
    assert reloaded(mixed, load(Sources(files=[("u.toml", "")]))) == (Config(), [])
