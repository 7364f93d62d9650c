"""``--exclude``: the patterns of .gitignore, one by one and against git itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uploadd.client.patterns import Patterns


@pytest.mark.parametrize(
    ("pattern", "path", "folder", "matches"),
    [
        ("*.o", "a.o", False, True),
        ("*.o", "x/y/a.o", False, True),
        ("*.o", "a.oo", False, False),
        ("/a", "a", False, True),
        ("/a", "x/a", False, False),
        ("b/*.c", "b/x.c", False, True),
        ("b/*.c", "z/b/x.c", False, False),
        ("b/*.c", "b/y/x.c", False, False),
        ("**/t", "t", False, True),
        ("**/t", "a/b/t", False, True),
        ("a/**", "a/b/c", False, True),
        ("a/**", "a", True, False),
        ("a/**/b", "a/b", False, True),
        ("a/**/b", "a/x/y/b", False, True),
        ("cache/", "cache", False, False),
        ("cache/", "x/cache", True, True),
        ("[ab].txt", "a.txt", False, True),
        ("[!a].txt", "a.txt", False, False),
        ("[^a].txt", "b.txt", False, True),
        ("[]x]", "]", False, True),
        ("[a", "[a", False, True),
        (r"\*", "*", False, True),
        (r"\*", "x", False, False),
        ("a.b", "axb", False, False),
        ("a?c", "a/c", False, False),
        ("a[+-9]c", "a/c", False, False),
        (".*", ".git", True, True),
        ("ä*", "ärger\n", False, True),
    ],
)
def test_a_pattern_means_what_the_help_says(
    pattern: str, path: str, folder: bool, matches: bool
) -> None:
    """Names at any depth, paths from the folder that was named, folders where it ends with /."""
    assert Patterns([pattern]).match(path, folder=folder) is matches


@pytest.mark.parametrize("pattern", ["", "/", "//", "[z-a]"])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match="--exclude"):
        Patterns([pattern])


PATHS = ["a", "b", "a.o", "d/a", "d/b.o", "d/e/a", "d/e/a.o", "e/d/a", "a-d/a"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the oracle")
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.lists(
            st.sampled_from(["a", "d", "*", "?", "**", "*.o", "[a-d]", "e", "b?o"]),
            min_size=1,
            max_size=3,
        ).map("/".join),
        min_size=1,
        max_size=2,
    ),
    st.booleans(),
    st.booleans(),
)
def test_git_ignores_the_same(
    tmp_path: Path, patterns: list[str], anchored: bool, folders: bool
) -> None:
    """Every path, with the folders above it."""
    texts = [f"{'/' * anchored}{text}{'/' * folders}" for text in patterns]
    repository = tmp_path / "repository"
    if not repository.exists():
        subprocess.run(["git", "init", "-q", str(repository)], check=True)
        for path in PATHS:
            (repository / path).parent.mkdir(parents=True, exist_ok=True)
            (repository / path).touch()
    (repository / ".git/info/exclude").write_text("".join(f"{text}\n" for text in texts))
    told = subprocess.run(
        ["git", "-C", str(repository), "check-ignore", "--no-index", *PATHS],
        capture_output=True,
        text=True,
        env=os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"},
    )
    ours = Patterns(texts)

    def ignored(path: str) -> bool:
        steps = path.split("/")
        above = ["/".join(steps[:count]) for count in range(1, len(steps))]
        return ours.match(path, folder=False) or any(ours.match(p, folder=True) for p in above)

    assert [path for path in PATHS if ignored(path)] == told.stdout.splitlines()
