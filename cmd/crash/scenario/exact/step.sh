# One step of the scenario. It keeps a diary beside the plan, writes its file in
# two halves with a pause between, and says what must never be: that what an
# earlier attempt started still runs, or that its input is half a file.
step=$1
request=$(cat)
field() { printf %s "$request" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
dir=$(field dir)
for old in $(cat "pids-$step" 2>/dev/null); do
	case $(cut -d ' ' -f 3 "/proc/$old/stat" 2>/dev/null) in
	"" | Z) continue ;; # a zombie does not run
	esac
	if kill -0 "$old" 2>/dev/null; then echo "$step: process $old of an earlier attempt still runs" >>violations; fi
done
echo "start $step" >>diary
# It leaves the group, so that nothing but the attempt's name tells whose it is.
setsid sleep 60 </dev/null >/dev/null 2>&1 &
echo $$ $! >>"pids-$step"
if [ "$step" != make ]; then
	from=$(printf %s "$request" | sed -n 's/.*"from":{[^}]*"path":"\([^"]*\)".*/\1/p')
	if [ "$(wc -l <"$from")" != 1000 ]; then echo "$step: its input is half a file" >>violations; fi
fi
seq 1 500 | sed "s/^/$step /" >"$dir/out.txt"
sleep 0.03
seq 501 1000 | sed "s/^/$step /" >>"$dir/out.txt"
if [ "$step" = make ]; then
	mkdir -p "$dir/tree/below"
	echo kept >"$dir/tree/below/kept"
	printf '#!/bin/sh\n' >"$dir/tree/run.sh"
	chmod +x "$dir/tree/run.sh"
	printf '{"out": "out.txt", "tree": "tree", "long": "%s"}' "$(seq 1 20000 | tr '\n' ' ')"
else
	echo '{"out": "out.txt", "n": 1000}'
fi
kill $!
echo "end $step" >>diary
