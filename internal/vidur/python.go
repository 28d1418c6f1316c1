package vidur

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"calrun/internal/process"
)

// Python is an interpreter with a Vidur that is known.
type Python struct {
	Exe      string // path, or a name in PATH
	Dialect  Dialect
	Version  string // of vidur, by its package's metadata; "unpackaged" for a checkout
	Release  string // of Python, as 3.11.7
	Packages string // digest of what the numbers depend on besides: the lock, or vidur's sources and all packages' versions
}

// String is the simulator's identity, for results and keys. The same string
// is the same simulator, wherever it lies.
func (p Python) String() string {
	return fmt.Sprintf("vidur %s %s (Python %s, packages %s)", p.Dialect, p.Version, p.Release, p.Packages)
}

// unpackaged stands for the version of a Vidur that was not installed as a
// package: its sources say which one it is.
const unpackaged = "unpackaged"

// inspect prints what an interpreter's Vidur is, as JSON.
const inspect = `
import hashlib, importlib.metadata as m, importlib.util, json, os, platform
spec = importlib.util.find_spec("vidur")
if spec is None:
    raise SystemExit("no vidur")
h = hashlib.sha256()
for root in spec.submodule_search_locations:
    for folder, folders, files in sorted(os.walk(root)):
        folders.sort()
        for f in sorted(files):
            if f.endswith((".py", ".so")):
                path = os.path.join(folder, f)
                h.update(os.path.relpath(path, root).encode())
                h.update(open(path, "rb").read())
names = sorted({f"{d.metadata['Name']}=={d.version}" for d in m.distributions()})
h.update("\n".join(names).encode())
try:
    version = m.version("vidur")
except m.PackageNotFoundError:
    version = ""
print(json.dumps({"version": version, "release": platform.python_version(), "packages": h.hexdigest()}))
`

// Probe asks the user's interpreter which Vidur it has. It takes as long as
// Vidur's help does: seconds.
func Probe(ctx context.Context, exe string) (Python, error) {
	p := Python{Exe: exe}
	out, err := output(ctx, exe, "-c", inspect)
	if err != nil {
		return p, fmt.Errorf("vidur.python is %s, and it has no Vidur: %w; install vidur==0.0.26 there, or leave vidur.python out and calrun keeps an installation of its own", exe, err)
	}
	var found struct{ Version, Release, Packages string }
	if err := json.Unmarshal(out, &found); err != nil {
		return p, fmt.Errorf("vidur.python is %s, which does not answer as a Python does: %w", exe, err)
	}
	p.Version, p.Release, p.Packages = found.Version, found.Release, head(found.Packages)
	if p.Version == "" {
		p.Version = unpackaged
	}
	help, err := output(ctx, exe, "-m", "vidur.main", "--help")
	if err != nil {
		return p, fmt.Errorf("vidur.python is %s, and its Vidur %s does not start: %w", exe, p.Version, err)
	}
	if p.Dialect, err = DialectOf(string(help)); err != nil {
		return p, fmt.Errorf("vidur.python is %s: %w", exe, err)
	}
	return p, nil
}

// head is as much of a digest as names need.
func head(digest string) string { return digest[:min(12, len(digest))] }

// output runs a program and returns its stdout; the error has its last line.
func output(ctx context.Context, argv ...string) ([]byte, error) {
	var out bytes.Buffer
	err := process.Run(ctx, process.Cmd{Args: argv, Env: environment(), Stdout: &out})
	var exit *process.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return nil, errors.New(lastLine(exit.Lines))
	}
	return out.Bytes(), err
}

// environment is that of every Python: no network, no user's packages that
// nobody named, one thread, hashes that do not vary.
func environment() []string {
	set := []string{
		"HF_HUB_OFFLINE=1", "WANDB_MODE=disabled", "PYTHONNOUSERSITE=1", "PYTHONHASHSEED=0",
		"OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "MKL_NUM_THREADS=1",
	}
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		kept := true
		for _, s := range set {
			kept = kept && !strings.HasPrefix(s, name+"=")
		}
		if kept {
			env = append(env, kv)
		}
	}
	return append(env, set...)
}
