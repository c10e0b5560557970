#!/bin/sh
# Get kubectl and Helm for the cluster tests, unless they are there; see support/tools.py.
#
# Where they cannot be had the tests that use them are skipped and say why, so this never fails.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
python="$root/.venv/bin/python"

if [ ! -x "$python" ]; then
    echo "The cluster tests that use kubectl or Helm will not run: there is no .venv; run make venv."
    exit 0
fi
PYTHONPATH="$root/tests" "$python" -m support.tools ||
    echo "The cluster tests that use kubectl or Helm will not run; Python's words are above."
