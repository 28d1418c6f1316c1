"""A step in Python: where would this sweep saturate?

Reads one JSON document on stdin, prints one on stdout; logs go to stderr.
"""
import json
import pathlib
import sys


def main():
    request = json.load(sys.stdin)
    given = request["input"]
    seconds = given["base_s"] + given["per_sequence_s"] * given["batch"]
    tokens_per_s = given["batch"] / seconds
    requests_per_s = tokens_per_s / given["output_tokens"]
    print(f"a step of {given['batch']} sequences takes {seconds * 1e3:.2f} ms", file=sys.stderr)

    table = pathlib.Path(request["dir"]) / "rates.csv"
    with table.open("w") as out:
        out.write("rate_rps,load\n")
        for rate in given["rates"]:
            out.write(f"{rate},{rate / requests_per_s:.4f}\n")

    json.dump({
        "saturation_rps": requests_per_s,
        "highest_load": max(given["rates"]) / requests_per_s,
        "table": str(table),
    }, sys.stdout)


if __name__ == "__main__":
    main()
