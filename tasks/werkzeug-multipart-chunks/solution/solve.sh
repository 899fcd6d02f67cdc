# Hold back the last line break and what follows it, as long as that can still become a delimiter: while it is shorter
# than one, and while nothing but blanks or one hyphen stands behind the boundary. The line break before the data counts
# as well, because a part without data may have no other one; until that is decided the data has not started.
python - <<'PYTHON'
from pathlib import Path

path = Path("src/werkzeug/sansio/multipart.py")
text = path.read_text()


def replace(old, new):
    global text
    assert text.count(old) == 1, old
    text = text.replace(old, new)


replace(
    """\
        self._search_position = 0
        self._parts_decoded = 0
""",
    """\
        self._delimiter = b"--" + boundary
        self._search_position = 0
        self._parts_decoded = 0
""",
)
replace(
    """\
            data, del_index, more_data = self._parse_data(self.buffer, start=True)
            del self.buffer[:del_index]
            event = Data(data=data, more_data=more_data)
            if more_data:
                self.state = State.DATA
""",
    """\
            data, del_index, more_data = self._parse_data(self.buffer, start=True)
            if del_index:
                del self.buffer[:del_index]
                event = Data(data=data, more_data=more_data)
                if more_data:
                    self.state = State.DATA
""",
)
head, tail = text.split('        if self.buffer.find(b"--" + self.boundary) == -1:\n')
tail = tail.split("class MultipartEncoder:\n")[1]
text = head + '''\
        match = None
        if self._delimiter in data:
            match = self.boundary_re.search(data)

        if match is None:
            data_end = del_index = self._partial_delimiter_index(data)
            if data_end < data_start:
                # It begins with the line break before the data.
                del_index = 0
        else:
            if match.group(1).startswith(b"--"):
                self.state = State.EPILOGUE
            else:
                self.state = State.PART
            data_end = match.start()
            del_index = match.end()

        return bytes(data[data_start:data_end]), del_index, match is None

    def _partial_delimiter_index(self, data: bytes | bytearray) -> int:
        """Where a delimiter begins that the end of the data may cut off, and
        the length of the data if there is none.
        """
        # No delimiter goes beyond the line break that ends it, so only the
        # last one can begin a delimiter that is not complete.
        index = max(data.rfind(b"\\n"), data.rfind(b"\\r"))
        if index == -1:
            return len(data)
        begin = index + 1
        if data.startswith(self._delimiter, begin):
            if not DELIMITER_TAIL_RE.fullmatch(data, begin + len(self._delimiter)):
                return len(data)
        elif len(data) - begin >= len(self._delimiter):
            return len(data)
        if index > 0 and data[index - 1 : begin] == b"\\r\\n":
            index -= 1
        return index


class MultipartEncoder:
''' + tail
replace(
    """\
# This must be long enough to contain any line breaks plus any
""",
    """\
# What may follow the boundary before it is known what it delimits.
DELIMITER_TAIL_RE = re.compile(rb"-|[^\\S\\n\\r]*")
# This must be long enough to contain any line breaks plus any
""",
)
path.write_text(text)
PYTHON
