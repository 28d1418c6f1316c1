"""How much of an engine's capacity a rate takes: stdin and stdout are JSON."""
import json
import sys

given = json.load(sys.stdin)["input"]
batch, base_s, per_sequence_s, output_tokens = 64, 0.008, 0.0001, 8
saturation = batch / (base_s + per_sequence_s * batch) / output_tokens
json.dump({"saturation_rps": saturation, "load": given["rate"] / saturation}, sys.stdout)
