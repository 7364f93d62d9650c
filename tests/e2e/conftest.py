"""What the fault tests share: the library of faults, processes to kill, and folders to lose."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import faults
from tests.e2e.zygote import Zygote


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The library of faults, where there is a compiler."""
    return faults.build(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="session")
def library(built: Path | None) -> Path:
    """The library of faults, for tests that cannot do without."""
    if built is None:
        pytest.skip("no C compiler: faults.c cannot be built (apt install gcc libc6-dev)")
    return built


@pytest.fixture(scope="session")
def zygotes(built: Path | None) -> Iterator[list[Zygote]]:
    """As many processes that fork as this suite uses at a time; the library is preloaded."""
    started = [Zygote({"LD_PRELOAD": str(built)} if built else None) for _ in range(2)]
    yield started
    for one in started:
        one.close()


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of runs, and no wait for a disk."""
    shm = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="uploadd-", dir=shm if shm.is_dir() else None))
    yield folder
    shutil.rmtree(folder)
