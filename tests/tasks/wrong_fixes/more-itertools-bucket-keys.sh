# Puts `in` right, and with it the loop over the keys; going through a bucket that is not there still leaves its key.
python - <<'PYTHON'
from pathlib import Path

path = Path("more_itertools/more.py")
text = path.read_text()
start, stop = "        try:\n            item = next(self[value])\n", "    def _get_values(self, value):\n"
assert text.count(start) == 1 and text.count(stop) == 1
path.write_text(text.split(start)[0] + '''\
        if self._cache.get(value):
            return True
        for item in self._it:
            item_value = self._key(item)
            if self._validator(item_value):
                self._cache[item_value].append(item)
            if item_value == value:
                return True
        return False

''' + stop + text.split(stop)[1])
PYTHON
