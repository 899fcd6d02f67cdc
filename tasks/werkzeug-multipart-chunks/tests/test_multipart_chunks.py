"""The parts of a multipart message are the same, wherever the chunks end."""

import io
import itertools

import pytest
from werkzeug.datastructures import Headers
from werkzeug.formparser import MultiPartParser
from werkzeug.sansio.multipart import (
    Data,
    Epilogue,
    Field,
    File,
    MultipartDecoder,
    MultipartEncoder,
    NeedData,
    Preamble,
)

BOUNDARY = b"bound"
HEAD = b'--bound\r\nContent-Disposition: form-data; name="a"\r\n\r\n'

CONTENTS = {
    "empty": b"",
    "one_byte": b"a",
    "text": b"hello, world",
    "long": b"0123456789" * 5,
    "hyphens": b"--",
    "boundary": b"bound",
    "delimiter_within_a_line": b"a--bound",
    "ends_in_hyphens": b"hello\r\n--",
    "begins_with_lf": b"\nhello",
    "begins_with_crlf": b"\r\nhello",
    "begins_with_two_crlf": b"\r\n\r\nhello",
    "begins_with_cr": b"\rhello",
    "ends_in_lf": b"hello\n",
    "ends_in_crlf": b"hello\r\n",
    "ends_in_lf_cr": b"hello\n\r",
    "only_crlf": b"\r\n",
    "only_lf": b"\n",
    "many_line_breaks": b"\r\n\n\r\r\n\n\n\r\n",
    "short_lines": b"a\r\nb\r\nc\r\nd\r\ne",
    "half_a_delimiter": b"a\r\n--bou\r\nb",
    "longer_boundary": b"a\r\n--bounds\r\nb",
    "boundary_and_one_hyphen": b"a\r\n--bound-\r\nb",
    "boundary_and_text": b"a\r\n--bound b\r\nc",
    "other_boundary": b"a\r\n--other\r\nb\r\n--other--\r\nc",
    "three_hyphens": b"a\r\n---bound\r\nb",
}
ENDS_IN_CR = {"only_cr": b"\r", "text_and_cr": b"hello\r", "two_cr": b"hello\r\r", "crlf_cr": b"\r\n\r"}


def message(contents, newline=b"\r\n", blanks=b""):
    """A message with one field a content, and the same content as a file behind each."""
    lines = []
    for number, content in enumerate(contents):
        for kind in (b"", b'; filename="f%d"' % number):
            lines += [
                b"--" + BOUNDARY + (blanks if lines else b""),
                b'Content-Disposition: form-data; name="n%d"%s' % (number, kind),
                b"Content-Type: application/octet-stream",
                b"",
                content,
            ]
    return newline.join([*lines, b"--" + BOUNDARY + b"--" + blanks, b""])


def drain(decoder):
    """All events that the decoder has by now."""
    event = decoder.next_event()
    while not isinstance(event, NeedData):
        yield event
        if isinstance(event, Epilogue):
            return
        event = decoder.next_event()


def decode(chunks, boundary=BOUNDARY):
    """Name, file name and content of each part, after a look at the order of the events."""
    decoder = MultipartDecoder(boundary)
    events = []
    for chunk in [*chunks, None]:
        decoder.receive_data(chunk)
        events += drain(decoder)
    assert isinstance(events[0], Preamble)
    assert isinstance(events[-1], Epilogue)
    parts = []
    is_open = False
    for event in events[1:-1]:
        if isinstance(event, Data):
            assert is_open
            parts[-1][2] += event.data
            is_open = event.more_data
        else:
            assert isinstance(event, (Field, File))
            assert not is_open
            parts.append([event.name, getattr(event, "filename", None), b""])
            is_open = True
    assert not is_open
    return [tuple(part) for part in parts]


def expected(contents):
    return [
        (f"n{number}", filename, content)
        for number, content in enumerate(contents)
        for filename in (None, f"f{number}")
    ]


def cuts_in_two(data):
    return ((data[:at], data[at:]) for at in range(len(data) + 1))


def pieces(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_a_chunk_may_end_right_before_the_data():
    assert decode([HEAD, b"hello\r\n--bound--\r\n"]) == [("a", None, b"hello")]


def test_a_chunk_may_end_within_the_last_hyphens():
    assert decode([HEAD + b"hello\r\n--bound-", b"-\r\n"]) == [("a", None, b"hello")]


@pytest.mark.parametrize("content", [*CONTENTS.values(), *ENDS_IN_CR.values()], ids=[*CONTENTS, *ENDS_IN_CR])
@pytest.mark.parametrize("blanks", [b"", b" ", b" \t   \t"], ids=["plain", "blank", "blanks"])
class TestLinesThatEndInCrlf:
    def test_whole(self, content, blanks):
        assert decode([message([content], blanks=blanks)]) == expected([content])

    def test_cut_in_two(self, content, blanks):
        for chunks in cuts_in_two(message([content], blanks=blanks)):
            assert decode(chunks) == expected([content]), chunks

    def test_cut_in_equal_chunks(self, content, blanks):
        contents = [content, b"x", content]
        for size in (1, 2, 3, 5, 8, 13):
            assert decode(pieces(message(contents, blanks=blanks), size)) == expected(contents), size


@pytest.mark.parametrize("content", [c.replace(b"\r", b"") for c in CONTENTS.values()], ids=CONTENTS)
@pytest.mark.parametrize("blanks", [b"", b" \t   \t"], ids=["plain", "blanks"])
class TestLinesThatEndInLf:
    def test_cut_in_two(self, content, blanks):
        for chunks in cuts_in_two(message([content], b"\n", blanks)):
            assert decode(chunks) == expected([content]), chunks

    def test_cut_in_equal_chunks(self, content, blanks):
        contents = [content, b"x", content]
        for size in (1, 2, 3, 5, 8):
            assert decode(pieces(message(contents, b"\n", blanks), size)) == expected(contents), size


@pytest.mark.parametrize("content", [b"", b"ab", b"\r\n", b"\n--bou"], ids=repr)
def test_cut_in_three(content):
    data = HEAD + content + b"\r\n--bound--\r\n"
    for first, second in itertools.combinations(range(len(HEAD) - 4, len(data)), 2):
        chunks = data[:first], data[first:second], data[second:]
        assert decode(chunks) == [("a", None, content)], chunks


@pytest.mark.parametrize("length", range(5))
def test_one_byte_a_chunk(length):
    for content in map(bytes, itertools.product(b"a\r\n-", repeat=length)):
        assert decode(pieces(message([content]), 1)) == expected([content])


def encoded(contents):
    encoder = MultipartEncoder(BOUNDARY)
    data = encoder.send_event(Preamble(data=b""))
    for number, content in enumerate(contents):
        data += encoder.send_event(Field(name=f"n{number}", headers=Headers()))
        data += encoder.send_event(Data(data=content, more_data=False))
    return data + encoder.send_event(Epilogue(data=b""))


@pytest.mark.parametrize(
    "contents", [[b""], [b"", b""], [b"a", b"", b"b"], [b"", b"\r\n", b""]], ids=lambda contents: repr(contents)
)
class TestPartsWithoutAnEmptyLine:
    def test_cut_in_two(self, contents):
        for chunks in cuts_in_two(encoded(contents)):
            assert [part[2] for part in decode(chunks)] == contents, chunks

    def test_cut_in_equal_chunks(self, contents):
        for size in range(1, 12):
            assert [part[2] for part in decode(pieces(encoded(contents), size))] == contents, size

    def test_with_blanks_behind_the_boundary(self, contents):
        head, *rest = encoded(contents).split(b"--bound\r\n")
        data = b"--bound \t \r\n".join([head + b"--bound\r\n" + rest[0], *rest[1:]])
        for chunks in cuts_in_two(data.replace(b"--bound--", b"--bound-- ")):
            assert [part[2] for part in decode(chunks)] == contents, chunks


@pytest.mark.parametrize("boundary", [b"b", b"a+b(c)?", b"-----", b"-" * 20 + b"0123456789", b"a b"], ids=repr)
def test_any_boundary(boundary):
    content = b"\r\n--" + boundary[:-1] + b"\r\nx"
    data = message([content]).replace(BOUNDARY, boundary)
    want = decode([data], boundary)
    assert want == expected([content])
    for chunks in cuts_in_two(data):
        assert decode(chunks, boundary) == want, chunks
    assert decode(pieces(data, 1), boundary) == want


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 16, 64, 1000])
def test_forms_and_files_do_not_depend_on_the_size_of_the_buffer(size):
    contents = [*CONTENTS.values(), *ENDS_IN_CR.values()]
    data = message(contents, blanks=b" ")
    form, files = MultiPartParser(buffer_size=size).parse(io.BytesIO(data), BOUNDARY, len(data))
    assert [form[f"n{number}"].encode() for number in range(len(contents))] == contents
    assert [files[f"n{number}"].read() for number in range(len(contents))] == contents


STREAMS = {
    "no_line_break": b"x" * 100,
    "line_breaks": b"x\r\n" * 40,
    "cr": b"\r" * 100,
    "lf": b"\n" * 100,
    "crlf": b"\r\n" * 50,
    "long_lines": b"x" * 60 + b"\r\n",
    "begun_delimiters": b"\r\n--bou" * 14,
    "longer_boundaries": b"\r\n--boundary" * 10,
    "boundary_and_hyphen": b"\r\n--bound-x" * 10,
    "boundary_and_blanks": b"\r\n--bound  x" * 10,
}


@pytest.mark.parametrize("size", [10, 100, 5000])
@pytest.mark.parametrize("line", STREAMS.values(), ids=STREAMS)
def test_data_comes_out_as_it_goes_in(line, size):
    decoder = MultipartDecoder(BOUNDARY)
    decoder.receive_data(b'--bound\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\n')
    assert [type(event) for event in drain(decoder)][:2] == [Preamble, File]
    sent = received = b""
    for chunk in pieces(line * 100, size):
        sent += chunk
        decoder.receive_data(chunk)
        received += b"".join(event.data for event in drain(decoder))
        assert sent.startswith(received)
        assert len(sent) - len(received) <= len(b"\r\n--bound  ")
    decoder.receive_data(b"\r\n--bound--\r\n")
    decoder.receive_data(None)
    *data, end = drain(decoder)
    assert isinstance(end, Epilogue)
    assert received + b"".join(event.data for event in data) == sent


def test_data_goes_on_after_an_almost_delimiter():
    decoder = MultipartDecoder(BOUNDARY)
    decoder.receive_data(HEAD)
    list(drain(decoder))
    decoder.receive_data(b"abc\r\n--bound" + b" " * 50)
    assert b"".join(event.data for event in drain(decoder)) == b"abc"
    decoder.receive_data(b"d")
    assert b"".join(event.data for event in drain(decoder)) == b"\r\n--bound" + b" " * 50 + b"d"


def test_a_message_that_breaks_off_is_an_error():
    data = message([b"hello"])
    for end in range(1, data.rindex(b"--")):
        with pytest.raises(ValueError):
            decode([data[:end]])
