"""A step that needs a file which somebody else has to bring."""
import json
import pathlib
import sys

request = json.load(sys.stdin)
table = pathlib.Path(sys.argv[1])
if not table.exists():
    sys.exit(f"{table} is not there yet")
saturation = json.loads(table.read_text())["saturation_rps"]
json.dump({"load": request["input"]["rate"] / saturation}, sys.stdout)
