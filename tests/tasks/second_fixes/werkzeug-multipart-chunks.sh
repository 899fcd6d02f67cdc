# Another way than the gold solution: one regular expression that matches a delimiter which the end of the data cuts off.
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
        # What a delimiter looks like of which the end has not arrived yet.
        self._partial_re = re.compile(
            rb"%s(?:[^\\r\\n]{,%d}|--%s(?:-|[^\\S\\n\\r]*))\\Z"
            % (LINE_BREAK, len(boundary) + 1, re.escape(boundary))
        )
        self._search_position = 0
        self._parts_decoded = 0
""",
)
replace(
    """\
        elif self.state == State.DATA_START:
            data, del_index, more_data = self._parse_data(self.buffer, start=True)
            del self.buffer[:del_index]
            event = Data(data=data, more_data=more_data)
            if more_data:
                self.state = State.DATA

""",
    """\
        elif self.state == State.DATA_START and self._partial_re.match(self.buffer):
            pass

        elif self.state == State.DATA_START:
            data, del_index, more_data = self._parse_data(self.buffer, start=True)
            del self.buffer[:del_index]
            event = Data(data=data, more_data=more_data)
            if more_data:
                self.state = State.DATA

""",
)
for old in [
    "            data_end = del_index = self._last_partial_boundary_index(data)\n            more_data = True\n",
    "                data_end = del_index = self._last_partial_boundary_index(data)\n            more_data",
]:
    replace(old, old.replace("self._last_partial_boundary_index(data)", "self._partial_index(data)"))
start, stop = "    def _last_partial_boundary_index", "class MultipartEncoder:\n"
text = text.split(start)[0] + '''\
    def _partial_index(self, data: bytes | bytearray) -> int:
        newline = max(data.rfind(b"\\n"), data.rfind(b"\\r"), 0)
        match = self._partial_re.search(data, max(0, newline - 1))
        return len(data) if match is None else match.start()


''' + stop + text.split(stop)[1]
path.write_text(text)
PYTHON
