# Another way than the gold solution: the whole token list is at hand, and each END looks ahead for what it closes.
cat > sqlparse/engine/statement_splitter.py <<'PYTHON'
from sqlparse import sql, tokens as T

TRANSACTION = {'TRANSACTION', 'WORK', 'TRAN', 'DISTRIBUTED', 'DEFERRED',
               'IMMEDIATE', 'EXCLUSIVE', ';'}


class StatementSplitter:
    """Filter that split stream at individual statements"""

    def process(self, stream):
        """Process the stream"""
        words = [sql.Token(ttype, value) for ttype, value in stream]
        start = 0
        while start < len(words):
            stop = self._end_of_statement(words, start)
            statement = words[start:stop]
            if stop < len(words) or not all(t.is_whitespace for t in statement):
                yield sql.Statement(statement)
            start = stop

    def _end_of_statement(self, words, start):
        """The index behind the statement that begins at start."""
        created = declared = False
        blocks, parentheses, skip_case = [], 0, False
        for i in range(start, len(words)):
            token = words[i]
            if self._is_blank(token):
                continue
            word = token.value.upper()
            if token.ttype is T.Keyword.DDL and word.startswith('CREATE'):
                created = True
            elif token.match(T.Punctuation, '('):
                parentheses += 1
            elif token.match(T.Punctuation, ')'):
                parentheses -= 1
            elif token.match(T.Punctuation, ';'):
                if parentheses <= 0 and not blocks and not declared:
                    return self._behind_blanks(words, i + 1)
            elif token.ttype not in T.Keyword:
                pass
            elif word.split()[0] == 'GO':
                return self._behind_blanks(words, i + 1)
            elif word == 'DECLARE' and created and not blocks:
                declared = True
            elif word == 'BEGIN':
                if self._word_after(words, i) not in TRANSACTION:
                    blocks.append(word)
                declared = False
            elif word == 'CASE' and (blocks or declared) and not skip_case:
                blocks.append(word)
            elif word == 'END' and blocks:
                after = self._word_after(words, i)
                if blocks[-1] == 'CASE' or after not in ('FOR', 'REPEAT'):
                    skip_case = blocks.pop() == 'CASE' and after == 'CASE'
                continue
            skip_case = False
        return len(words)

    def _is_blank(self, token):
        return token.ttype in T.Whitespace or token.ttype in T.Comment

    def _word_after(self, words, i):
        for token in words[i + 1:]:
            if not self._is_blank(token):
                return token.value.upper()
        return None

    def _behind_blanks(self, words, i):
        while i < len(words) and words[i].ttype in (T.Whitespace, T.Comment.Single):
            i += 1
        return i
PYTHON
