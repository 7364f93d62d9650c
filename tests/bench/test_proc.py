"""What /proc tells, read right: of this very process, and of tables as the kernel writes them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from bench import proc

STAT = "4242 (a (b) c) S 17 4242 1 0 -1 4194560 9 0 0 0 250 50 10 20 20 0 5 0 99 1000 7 18446744"
STATUS = "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t     64 kB\nVmRSS:\t      8 kB\nThreads:\t3\n"
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1
   1: 0100007F:1F90 0100007F:8E12 01 00000000:00000000 00:00000000 00000000     0        0 222 1
   2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1
"""


def test_times_and_parent_behind_a_name_with_anything_in_it() -> None:
    """The name may hold spaces and parentheses."""
    assert proc.parent(STAT) == 17
    assert proc.cpu_seconds(STAT, tick=100) == 3.3


def test_memory_is_in_bytes() -> None:
    """And 0 where there is no such line, as for a kernel thread."""
    assert proc.kibibytes(STATUS, "VmHWM") == 65536
    assert proc.kibibytes(STATUS, "VmRSS") == 8192
    assert proc.kibibytes("Name:\tkthreadd\n", "VmHWM") == 0


def test_a_tree_has_children_of_children_and_nobody_else() -> None:
    """A server may be a master with workers."""
    assert sorted(proc.tree([10], {10: 1, 11: 10, 12: 11, 13: 1, 1: 0})) == [10, 11, 12]
    assert proc.tree([], {1: 0}) == []


def test_who_listens_is_told_from_who_is_connected() -> None:
    """By state, and by port in hexadecimal."""
    assert proc.inodes(TCP, 8080) == {"socket:[111]"}
    assert proc.inodes(TCP, 8081) == {"socket:[333]"}
    assert proc.inodes(TCP, 80) == set()


def test_the_listener_of_a_port_is_found() -> None:
    """It is us."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert proc.listener(port) == os.getpid()
    assert proc.listener(port) is None


def test_what_is_gone_used_nothing() -> None:
    """A server that died is a row that failed, not a crash of the harness."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    assert proc.Watch([process.pid]).used() == proc.Usage(0, 0, 0)


def test_a_watch_sees_work_and_memory_of_children() -> None:
    """The peak counts from when it was made."""
    script = "import sys; x = b'x' * (1 << 25); sum(range(3_000_000)); print(1); sys.stdin.read()"
    command = [sys.executable, "-c", f"input(); {script}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        watch = proc.Watch([child.pid])
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        used = watch.used()
        child.stdin.close()
    assert used.busiest_thread > 0
    assert used.peak_rss > 1 << 25
