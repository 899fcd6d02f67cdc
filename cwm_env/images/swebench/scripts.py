"""What runs in a sandbox while an instance's image is built."""

from __future__ import annotations

from cwm_env.images.build import EXCLUDED, INPUTS

CONDA = "/opt/miniconda3"
ENVIRONMENT = f"{CONDA}/envs/testbed"
"""Where the environment of an official image lies, and of ours."""
WHEELS = f"{CONDA}/wheels"
"""What pip finds where there is no network: the back ends that the repository is built with."""
OUT = "/cwm-env-out"

MAKE_ENVIRONMENT = f"""
python=$1 env=$2
shift 2
test -e "$env/bin/python" || "$python" -m venv --without-pip "$env"
pip=({INPUTS}/pip-*.whl)
PYTHONPATH=${{pip[0]}} "$env/bin/python" -m pip install --quiet --no-index --no-deps --no-cache-dir \\
    --disable-pip-version-check --no-warn-script-location --find-links={INPUTS} "$@"
"""

# tox-current-env starts the environment's Python through a link of its own. Conda's, with its library beside it,
# finds its packages also then; that of a virtual environment does not.
STAND_ALONE = r"""
python=$1 env=$2
name=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
library=$("$python" -c 'import os; print(os.path.dirname(os.__file__))')
cp --remove-destination --dereference "$python" "$env/bin/$name"
for entry in "$library"/*; do
    test "${entry##*/}" = site-packages || ln -s "$entry" "$env/lib/$name/"
done
rm "$env/pyvenv.cfg"
"""

# Official scripts say `source /opt/miniconda3/bin/activate; conda activate testbed`, with `set -u`.
ACTIVATE = r"""
mkdir -p "$1/bin" "$1/condabin"
cat > "$1/bin/activate" <<'EOF'
export PATH="/opt/miniconda3/condabin:$PATH"
conda() {
    case "${1-}" in
        activate)
            PATH=":$PATH:"; PATH="${PATH//:\/opt\/miniconda3\/envs\/testbed\/bin:/:}"; PATH="${PATH#:}"
            export PATH="/opt/miniconda3/envs/testbed/bin:${PATH%:}"
            export CONDA_DEFAULT_ENV=testbed CONDA_PREFIX=/opt/miniconda3/envs/testbed
            hash -r ;;
        deactivate | "") ;;
        *) command conda "$@" ;;
    esac
}
EOF
cat > "$1/condabin/conda" <<'EOF'
#!/bin/sh
echo "conda: there is one environment here, testbed, and no network to get packages from" >&2
exit 1
EOF
chmod 644 "$1/bin/activate"
chmod 755 "$1/condabin/conda"
"""

# Of the environment's own: pip reads it wherever it is called from, and no variable must be set.
PIP_CONF = r"""
mkdir -p "$2"
cat > "$1/pip.conf" <<EOF
[global]
no-index = true
find-links = $2
disable-pip-version-check = true
root-user-action = ignore
EOF
chmod 644 "$1/pip.conf"
"""

UNPACK = f"""
mkdir -p "$1" "$2"
tar --extract --file={INPUTS}/checkout.tar --directory="$1" --no-same-owner
find {INPUTS} -mindepth 1 ! -name checkout.tar -exec cp -t "$2" {{}} +
chmod 755 "$1"
"""

INSTALL = f"""
source {CONDA}/bin/activate
conda activate testbed
"""

# What the set-up changed in files of the commit stays, and is no change: the commit is the official one. What it made
# beside them is as if ignored.
SETTLE = (
    f"mkdir -p .git/info\ncat > .git/info/exclude <<'EOF'\n{EXCLUDED}EOF\n"
    + r"""
git config log.showRoot false
git diff --name-only -z > /run/changed
git update-index -z --assume-unchanged --stdin < /run/changed
git ls-files --others --exclude-standard --directory > /run/made
sed 's/[][*?\\!#]/\\&/g; s/^/\//' /run/made >> .git/info/exclude
find . \( -type d ! -perm -755 -o -type f ! -perm -644 \) -exec chmod u+rwX,go+rX {} +
rm -rf .git/logs .git/FETCH_HEAD .git/ORIG_HEAD
"""
)

CHECK = r"""
[ "$(git rev-parse HEAD)" = "$1" ] || { echo "HEAD is not $1"; exit 1; }
count=$(git cat-file --batch-all-objects --batch-check='%(objecttype)' | grep -c '^commit$')
[ "$count" = 1 ] || { echo "its .git holds $count commits, not one"; exit 1; }
[ -z "$(git remote)" ] || { echo "its .git names a remote"; exit 1; }
[ "$(git for-each-ref | wc -l)" = 1 ] || { echo "its .git holds more than one ref"; exit 1; }
[ ! -e .git/objects/info/alternates ] || { echo "its .git borrows objects"; exit 1; }
[ -z "$(git status --porcelain)" ] || { echo "git sees changes:"; git status --porcelain | head -20; exit 1; }
"""

WORKBENCH = f"""
if [ ! -e /opt/workshop ]; then
    "$1" -m venv --without-pip /opt/workshop
    pip=({INPUTS}/pip-*.whl)
    PYTHONPATH=${{pip[0]}} /opt/workshop/bin/python -m pip install --quiet --no-index --no-deps --no-cache-dir \\
        --disable-pip-version-check "${{pip[0]}}"
fi
"""
WORKSHOP = f"""
mkdir -p {OUT} /testbed
[ ! -e {INPUTS}/checkout.tar ] || tar --extract --file={INPUTS}/checkout.tar --directory=/testbed --no-same-owner
"""

# The repository built as it will be, with nothing there but an index: what it asks for is noted outside. A tag stands
# for those of git that are not there, so that it finds its version.
PROBE = """
[ -z "$1" ] || git tag "$1"
shift
# A pip of old builds without isolation what has no pyproject.toml, with the environment's own setuptools.
case $(/opt/workshop/bin/python -c 'import sys; print(sys.version_info[1])') in
    6 | 7) /opt/workshop/bin/python -m pip install --quiet --no-cache-dir setuptools wheel ;;
esac
/opt/workshop/bin/python -m pip list --format=freeze > /run/before
/opt/workshop/bin/python -m pip install --quiet --no-deps --no-cache-dir "$@"
/opt/workshop/bin/python -m pip list --format=freeze | grep -vxF -f /run/before > /run/probed
"""

RESOLVE = f"""
target=$1 options=$2
shift 2
printf '%s\\n' "$@" > /run/requirements
/opt/workshop/bin/python -m pip wheel --no-cache-dir --progress-bar=off --wheel-dir={OUT} $options \\
    -r /run/requirements $target
"""
