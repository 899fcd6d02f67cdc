# slice.indices() knows the rules of a list; both methods only have to follow what it says.
python - <<'PYTHON'
from pathlib import Path

path = Path("boltons/listutils.py")
text = path.read_text()
start, stop = "    def iter_slice(self, start, stop, step=None):\n", "    __delslice__ = del_slice\n"
assert text.count(start) == 1 and text.count(stop) == 1
text = text.split(start)[0] + '''\
    def iter_slice(self, start, stop, step=None):
        length = len(self)
        start, stop, step = slice(start, stop, step).indices(length)
        if step < 0:  # the same items, counted from the other end
            return islice(reversed(self), length - 1 - start,
                          length - 1 - stop, -step)
        return islice(self, start, stop, step)

    def del_slice(self, start, stop, step=None):
        doomed = range(*slice(start, stop, step).indices(len(self)))
        if not doomed:
            return
        if doomed.step < 0:
            doomed = doomed[::-1]
        if doomed.step > 1 and len(doomed) > 1:
            items = list(self)
            del items[doomed.start:doomed.stop:doomed.step]
            self.lists[:] = [items]
            self._balance_list(0)
            return
        first, last = doomed[0], doomed[-1] + 1
        for cur in self.lists:
            len_cur = len(cur)
            if first < len_cur and last > 0:
                del cur[max(first, 0):last]
            first -= len_cur
            last -= len_cur
        # an empty last list would be in the way of pop()
        self.lists[:] = [cur for cur in self.lists if cur] or [[]]

''' + stop + text.split(stop)[1]
path.write_text(text)
PYTHON
