# Which BEGIN, CASE and DECLARE are open is all that decides where a statement ends: inside a body no semicolon does.
# So IF and loops need no counting; only an END that belongs to a loop must not be taken for the END of the body.
python - <<'PYTHON'
from pathlib import Path

path = Path("sqlparse/engine/statement_splitter.py")
text = path.read_text()


def cut(start, stop, replacement):
    global text
    assert text.count(start) == 1 and text.count(stop) == 1, (start, stop)
    head, tail = text.split(start)[0], text.split(stop)[1]
    text = head + replacement + stop + tail


cut(
    "        self._in_declare = False\n",
    "        self._seen_begin = False\n\n        self.consume_ws",
    """\
        # Open DECLARE sections, BEGIN blocks and CASEs, the innermost last
        self._open = []
        # The last significant token was END, and it closes a BEGIN unless
        # the next one says that it belongs to a loop
        self._end_of_block = False
        # The last significant token was the END of a CASE
        self._end_of_case = False
        self._is_create = False
""",
)
cut(
    '        """Get the new split level (increase, decrease or remain equal)"""\n',
    "    def process(self, stream):\n",
    '''\
        """Get the new split level (increase, decrease or remain equal)"""
        if ttype in T.Whitespace or ttype in T.Comment:
            return 0

        unified = value.upper()

        if self._end_of_block and unified not in ('FOR', 'REPEAT'):
            self._open.pop()
        closes_case_statement = self._end_of_case and unified == 'CASE'
        self._end_of_block = self._end_of_case = False

        # parenthesis increase/decrease a level
        if ttype is T.Punctuation and value == '(':
            return 1
        elif ttype is T.Punctuation and value == ')':
            return -1

        if ttype in T.Keyword and not closes_case_statement:
            self._change_blocks(ttype, unified)
        return 0

    def _change_blocks(self, ttype, unified):
        """Note what a keyword opens or closes."""
        innermost = self._open[-1] if self._open else None

        # three keywords begin with CREATE, but only one of them is DDL
        # DDL Create though can contain more words such as "or replace"
        if ttype is T.Keyword.DDL and unified.startswith('CREATE'):
            self._is_create = True

        # the section of a function, up to the BEGIN of its body
        elif unified == 'DECLARE' and self._is_create and not self._open:
            self._open.append('DECLARE')

        elif unified == 'BEGIN':
            self._seen_begin = True
            if innermost == 'DECLARE':
                self._open.pop()
            self._open.append('BEGIN')

        # Issue826: If we see a transaction keyword after BEGIN,
        # it's a transaction statement, not a block.
        elif self._seen_begin and unified in (
                'TRANSACTION', 'WORK', 'TRAN', 'DISTRIBUTED', 'DEFERRED',
                'IMMEDIATE', 'EXCLUSIVE'):
            self._seen_begin = False
            self._open.pop()

        elif unified == 'CASE' and self._open:
            self._open.append('CASE')

        elif unified == 'END' and innermost == 'CASE':
            self._open.pop()
            self._end_of_case = True

        elif unified == 'END' and innermost == 'BEGIN':
            self._end_of_block = True

''',
)
old = """\
                if self._seen_begin:
                    self._begin_depth = max(0, self._begin_depth - 1)
                self._seen_begin = False
                # Split on semicolon if not inside a BEGIN...END block
                if self.level <= 0 and self._begin_depth == 0:
"""
new = """\
                if self._seen_begin:
                    self._open.pop()
                self._seen_begin = False
                # Split on semicolon if not inside a BEGIN...END block
                if self.level <= 0 and not self._open:
"""
assert text.count(old) == 1
text = text.replace(old, new)
path.write_text(text)
PYTHON
