"""Runs a plan, reads its verdict, and resumes it: what a task of Airflow,
Dagster or Prefect does. Nothing but Python's own library is needed.
"""
import json
import pathlib
import subprocess
import sys

PASS, FAIL, WRONG, ERROR, INCONCLUSIVE, INTERRUPTED = 0, 1, 2, 3, 4, 130


def calrun(*args):
    """Runs calrun and returns its exit code and its document (schema/run.v1.json)."""
    done = subprocess.run(["calrun", *args, "--json"], stdout=subprocess.PIPE, check=False)
    document = json.loads(done.stdout)
    if document["exit"] != done.returncode:
        raise RuntimeError(f"exit code {done.returncode}, the document says {document['exit']}")
    return done.returncode, document


def events(run, first=1):
    """Yields the events of a run from a sequence number on (schema/event.v1.json)."""
    out = subprocess.run(["calrun", "events", run, "--from", str(first)], stdout=subprocess.PIPE, check=True)
    for line in out.stdout.splitlines():
        yield json.loads(line)


def main(rate):
    code, run = calrun("run", "plan.yaml", "--input", f"rate={rate}")
    seen = 0
    for event in events(run["run"]):
        seen = event["seq"]
    if code == ERROR:
        print(f"run {run['run']} could not work: {run['reasons'][0]}")
        # Whatever was missing is brought here; what was finished is not done again.
        pathlib.Path("table.json").write_text(json.dumps({"saturation_rps": 50}))
        code, run = calrun("resume", run["run"])
        news = [event["type"] for event in events(run["run"], seen + 1)]
        print("resumed:", " ".join(news))
    if code == WRONG:
        raise SystemExit(run["error"])
    load = run["steps"]["saturation"]["result"]["load"]
    print(f"verdict {run['verdict']}, load {load:.2f}, report {run['report']}")
    return {PASS: 0, INCONCLUSIVE: 0}.get(code, code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "30"))
