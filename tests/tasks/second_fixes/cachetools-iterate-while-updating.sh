# Another way than the gold solution: one iterator for both classes, on what the base class and `in` already offer.
python - <<'PYTHON'
import re
from pathlib import Path

path = Path("src/cachetools/__init__.py")
head, timed = path.read_text().split("class _TimedCache(Cache):\n")
timed, count = re.subn(r"    def __iter__\(self\):\n(?:        .*\n|\n)+?\n", "", timed)
assert count == 2
old = "    def __len__(self, cache_len=Cache.__len__):\n"
assert timed.count(old) == 1
timed = timed.replace(old, '''\
    def __iter__(self):
        for key in tuple(Cache.__iter__(self)):
            # "freeze" time for iterator access
            with self.__timer:
                if key in self:
                    yield key

''' + old)
path.write_text(head + "class _TimedCache(Cache):\n" + timed)
PYTHON
