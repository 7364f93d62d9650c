"""The documents of the plain JSON, as they are read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.errors import BadRequest
from uploadd.protocol.api import linking


@given(count=st.integers(0, 2**53 - 1), form=st.sampled_from(["{}", "{}.0", "{}.000", "{}e0"]))
def test_an_integer_is_one_however_it_is_written(count: int, form: str) -> None:
    """RFC 8259 has one kind of number, and JSON Schema calls 2.0 an integer."""
    read = linking(b'{"max_length": %b}' % form.format(count).encode())
    assert (read.max_length, type(read.max_length)) == (count, int)


@pytest.mark.parametrize("number", ["2.5", "-1", "-1.0", "1e400", "-1e400", "NaN"])
def test_what_is_no_count_of_bytes_is_refused(number: str) -> None:
    """With the place where it stands."""
    with pytest.raises(BadRequest, match="cannot be read"):
        linking(b'{"max_length": %b}' % number.encode())


@pytest.mark.parametrize("number", ["0", "-1", "1e400", '"5"'])
def test_a_link_is_good_for_some_time(number: str) -> None:
    """And for no infinite one."""
    with pytest.raises(BadRequest):
        linking(b'{"expires_in": %b}' % number.encode())
    assert linking(b'{"expires_in": 90}').expires_in == 90.0
