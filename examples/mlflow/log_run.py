"""Logs a run of calrun to MLflow, and reads it back.

stdin is the document that `calrun run --json` prints.
"""
import json
import os
import pathlib
import sys

os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder does here; a team has a server
import mlflow  # noqa: E402


def numbers(value, path):
    """Yields every number of a result with its path."""
    if isinstance(value, bool):
        yield path, float(value)
    elif isinstance(value, (int, float)):
        yield path, float(value)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from numbers(inner, f"{path}.{name}")


def main(store):
    run = json.load(sys.stdin)
    mlflow.set_tracking_uri(pathlib.Path(store).absolute().as_uri())
    mlflow.set_experiment(run["plan"])
    with mlflow.start_run(run_name=run["run"]) as active:
        mlflow.set_tags({"calrun.run": run["run"], "calrun.verdict": run["verdict"], "calrun.exit": run["exit"]})
        mlflow.log_params({name: value for name, value in run["inputs"].items() if not isinstance(value, dict)})
        metrics = {}
        for step, done in run["steps"].items():
            metrics.update(numbers(done.get("result", {}), step))
        mlflow.log_metrics(metrics)
        if run["report"]:
            mlflow.log_artifact(run["report"])
    back = mlflow.get_run(active.info.run_id).data
    for name, value in metrics.items():
        if back.metrics[name] != value:
            sys.exit(f"{name}: logged {value}, read {back.metrics[name]}")
    print(f"MLflow has {len(back.metrics)} metrics of run {back.tags['calrun.run']}, verdict {back.tags['calrun.verdict']}")


if __name__ == "__main__":
    main(sys.argv[1])
