"""An M/G/1 queue as a simulator: one request at a time, first come, first
served. A request holds the server for base + prefill x prompt + decode x output
seconds; its first token is there when its prompt is done."""
import json
import pathlib
import sys

given, wanted = map(pathlib.Path, sys.argv[-2:])  # the two folders that calrun adds
cost = json.loads((given / "simulate.json").read_text())["input"]

for point in json.loads((given / "points.json").read_text()):
    for seed in point["seeds"]:
        run = pathlib.Path("points", point["name"], str(seed))
        lines = (given / run / "trace.csv").read_text().splitlines()[1:]
        asked = [(float(due), int(prompt), int(output)) for due, prompt, output in (line.split(",") for line in lines)]
        rows, free = [None] * len(asked), 0.0
        for n in sorted(range(len(asked)), key=lambda n: asked[n][0]):  # by arrival
            due, prompt, output = asked[n]
            start = max(due, free)
            first = start + cost["base_s"] + cost["prefill_s"] * prompt
            free = first + cost["decode_s"] * (output - 1)
            rows[n] = {"id": n, "first_s": first, "last_s": free}
        (wanted / run).mkdir(parents=True)
        (wanted / run / "requests.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
