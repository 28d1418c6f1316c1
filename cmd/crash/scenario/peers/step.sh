# step.sh NAME FROM TO: the steps of the scenario exact, without calrun.
step=$1 from=$2 to=$3
echo "start $step" >>diary
if [ "$step" != make ] && [ "$(wc -l <"$from")" != 1000 ]; then echo "$step: its input is half a file" >>violations; fi
seq 1 500 | sed "s/^/$step /" >"$to"
sleep 0.03
seq 501 1000 | sed "s/^/$step /" >>"$to"
echo "end $step" >>diary
