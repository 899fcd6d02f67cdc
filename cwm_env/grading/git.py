"""git in a fresh clone, as a tool of ours: no hooks, filters or conversions, whatever tree or image ask for."""

PRELUDE = r"""
[ -d "$HOME" ] || mkdir -p "$HOME"
printf '[safe]\n\tdirectory = *\n' > "$HOME/.gitconfig"
cd "$1" || exit 1
git() { command git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c core.autocrlf=false -c core.safecrlf=false \
    -c core.protectNTFS=false -c core.protectHFS=false -c core.fileMode=true -c core.symlinks=true \
    -c core.ignoreCase=false -c core.precomposeUnicode=false -c core.splitIndex=false -c core.untrackedCache=false \
    -c core.attributesFile=/dev/null -c core.excludesFile=/dev/null -c core.quotePath=true "$@"; }
export GIT_ATTR_NOSYSTEM=1 GIT_LITERAL_PATHSPECS=1 GIT_CONFIG_NOSYSTEM=1
[ ! -d .git ] || [ -d .git/info ] || mkdir .git/info
[ ! -d .git ] ||
    echo '* -text -eol -ident -filter -working-tree-encoding !diff !whitespace' > .git/info/attributes
"""
"""Bash that goes to the directory ``$1`` and defines ``git``. Repositories of any owner are trusted, in every version
of git that asks. Attributes in the tree can ask for conversions, and can hide a file from diff; ``.git/info`` has the
last word (gitattributes(5))."""
