package vidur

import (
	"context"
	"crypto/sha256"
	_ "embed" // the lock
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"calrun/internal/process"
)

//go:embed requirements.lock
var lock string

// Managed is the installation that calrun keeps in the user's cache folder:
// one for each lock and release of Python, made once and never changed.
type Managed struct {
	Python Python
	dir    string // of the installation
	base   string // the interpreter that it is made with
}

// Releases of Python for which the lock's packages have wheels.
const (
	oldestPython = 11 // 3.11
	newestPython = 13 // 3.13
)

// CacheDir is calrun's folder below the user's caches: CALRUN_CACHE, or calrun
// below XDG_CACHE_HOME or the system's place.
func CacheDir() (string, error) {
	if dir := os.Getenv("CALRUN_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w; set CALRUN_CACHE to a folder that you may write", err)
	}
	return filepath.Join(dir, "calrun"), nil
}

// FindManaged says which installation calrun would use, without making it: a
// Python 3.11 to 3.13 in PATH is needed, nothing more.
func FindManaged(ctx context.Context, cache string) (Managed, error) {
	base, release, err := findBase(ctx)
	if err != nil {
		return Managed{}, err
	}
	sum := sha256.Sum256([]byte(lock))
	digest := head(hex.EncodeToString(sum[:]))
	minor := release[:strings.LastIndex(release, ".")]
	dir := filepath.Join(cache, "vidur", "venv-"+digest+"-py"+minor)
	return Managed{
		Python: Python{
			Exe: filepath.Join(dir, "bin", "python"), Dialect: Registry, Version: locked("vidur"),
			Release: minor, Packages: digest,
		},
		dir: dir, base: base,
	}, nil
}

// locked is the version of a package in the lock.
func locked(name string) string {
	for line := range strings.SplitSeq(lock, "\n") {
		if v, ok := strings.CutPrefix(line, name+"=="); ok {
			return strings.TrimSpace(v)
		}
	}
	panic("vidur: the lock does not pin " + name)
}

// findBase finds an interpreter that can make the installation.
func findBase(ctx context.Context) (exe, release string, err error) {
	var seen []string
	for _, exe := range []string{"python3", "python3.11", "python3.12", "python3.13", "python"} {
		out, err := output(ctx, exe, "-c", "import platform; print(platform.python_version())")
		if ctx.Err() != nil {
			return "", "", ctx.Err()
		}
		if err != nil {
			continue // not there, or broken: the next
		}
		release := strings.TrimSpace(string(out))
		var major, minor int
		if _, err := fmt.Sscanf(release, "%d.%d.", &major, &minor); err == nil && major == 3 && minor >= oldestPython && minor <= newestPython {
			return exe, release, nil
		}
		seen = append(seen, exe+" is "+release)
	}
	if seen == nil {
		seen = []string{"there is none"}
	}
	return "", "", fmt.Errorf("no Python 3.%d to 3.%d is in PATH, and Vidur needs one (%s); install it, or name an interpreter that has Vidur with vidur.python", oldestPython, newestPython, strings.Join(seen, ", "))
}

// marker is written into an installation when it is complete.
const marker = "complete"

// Install makes the installation if it is not there. Only one process does;
// others wait for it. log gets what pip says.
func (m Managed) Install(ctx context.Context, log io.Writer) error {
	done := filepath.Join(m.dir, marker)
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	unlock, err := hold(ctx, m.dir+".lock")
	if err != nil {
		return fmt.Errorf("install Vidur: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(done); err == nil {
		return nil // another process was faster
	}
	if err := os.RemoveAll(m.dir); err != nil {
		return fmt.Errorf("install Vidur: %w", err)
	}
	run := func(argv ...string) error {
		fmt.Fprintln(log, CommandLine(argv))
		return process.Run(ctx, process.Cmd{Args: argv, Stdout: log, Stderr: log})
	}
	if err := run(m.base, "-m", "venv", m.dir); err != nil {
		return m.advise(ctx, err, "the interpreter cannot make an environment (some systems ship venv apart, as python3-venv)")
	}
	list := filepath.Join(m.dir, "requirements.lock")
	if err := os.WriteFile(list, []byte(lock), 0o644); err != nil {
		return fmt.Errorf("install Vidur: %w", err)
	}
	// vidur asks for a hundred packages and imports half of them: what it
	// imports is installed as locked, without resolving.
	pip := []string{m.Python.Exe, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--no-deps", "--no-compile", "--progress-bar", "off", "-r", list}
	if err := run(pip...); err != nil {
		return m.advise(ctx, err, "pip cannot fetch the packages: a network, or an index that pip is configured for, is needed this once")
	}
	// Compiled once, here: the first simulation starts sooner, and later ones
	// do not write into the installation.
	if err := run(m.Python.Exe, "-m", "compileall", "-q", m.dir); err != nil && ctx.Err() != nil {
		return ctx.Err() // files of other Pythons do not compile, and need not
	}
	if err := run(m.Python.Exe, "-c", "import vidur.main"); err != nil {
		return m.advise(ctx, err, "what was installed does not start")
	}
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		return fmt.Errorf("install Vidur: %w", err)
	}
	return nil
}

// advise adds to an error of the installation what its reader can do.
func (m Managed) advise(ctx context.Context, err error, what string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var exit *process.ExitError
	if errors.As(err, &exit) {
		err = errors.New(lastLine(exit.Lines))
	}
	return fmt.Errorf("install Vidur %s into %s: %s: %w; or name an interpreter that has Vidur with vidur.python", m.Python.Version, m.dir, what, err)
}
