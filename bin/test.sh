# shellcheck shell=bash
# What 'bin/wardrop test' runs, all of it whatever fails: style, types, then every test, with pytest's summary last.
cd "$home"
status=0
tool() { as_owner .venv/bin/python -m "$@" || status=1; }

shellcheck --external-sources bin/wardrop bin/vendor.sh .ci/run || status=1
tool ruff check
tool ruff format --check
tool mypy
.venv/bin/python bin/tests.py "$@" || status=$?

# Tests ran as root: what they left in the user's checkout goes back to the user.
[ "$owner" = "$user" ] || find "$home" -uid "$user" -exec chown -h "$owner:$group" {} +
exit "$status"
