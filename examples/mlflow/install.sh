#!/usr/bin/env bash
# Installs MLflow from the Python package registry into the user's cache
# folder, as locked; prints the folder. A second call takes no time.
set -euo pipefail
cd "$(dirname "$0")"
key=$(cat requirements.lock install.sh | sha256sum | cut -c1-12)
home=${CALRUN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/calrun}/mlflow-$key
if [ ! -e "$home/complete" ]; then
	mkdir -p "$home"
	exec 9>"$home/lock"
	flock 9 # two installs at once would spoil each other
fi
if [ ! -e "$home/complete" ]; then
	{
		rm -rf "$home/venv"
		"${PYTHON:-python3}" -m venv "$home/venv"
		"$home/venv/bin/python" -m pip --disable-pip-version-check install --no-deps --progress-bar off -q -r requirements.lock
		touch "$home/complete"
	} >&2
fi
echo "$home"
