package steps

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"calrun/pipeline"
)

// program is a program of the user's: what runs, in which environment, and
// whose content decides what it yields.
type program struct {
	command []string          // relative paths start at root
	env     map[string]string // beside what no program can do without
	files   []string          // files and folders that it reads beside its arguments
	root    string            // the plan's folder
}

// find finds argv[0]: by PATH, or from the plan's folder if it is a path.
func (p program) find() (string, error) {
	if len(p.command) == 0 || p.command[0] == "" {
		return "", errors.New("command: no program is named")
	}
	name := p.command[0]
	if strings.ContainsRune(name, filepath.Separator) {
		name = p.at(name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("command: %w; install it, or name it by its path", err)
	}
	return path, nil
}

// identity is the program itself, every argument that is a file (an
// interpreter's script decides the result as much as the interpreter), and
// the declared files.
func (p program) identity() (map[string]string, error) {
	path, err := p.find()
	if err != nil {
		return nil, err
	}
	id := map[string]string{}
	if id["program"], err = pipeline.DigestPath(path); err != nil {
		return nil, fmt.Errorf("command: %w", err)
	}
	for _, arg := range p.command[1:] {
		if info, err := os.Stat(p.at(arg)); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if id["argument "+arg], err = pipeline.DigestPath(p.at(arg)); err != nil {
			return nil, fmt.Errorf("command: %w", err)
		}
	}
	for _, file := range p.files {
		if id["file "+file], err = pipeline.DigestPath(p.at(file)); err != nil {
			return nil, fmt.Errorf("files: %w", err)
		}
	}
	return id, nil
}

// at is where a path of the plan's lies.
func (p program) at(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(p.root, path)
}

// environment is the declared one and the secrets, on top of what no program
// can do without.
func (p program) environment(secrets map[string]string) []string {
	env := []string{}
	for _, name := range []string{"PATH", "HOME", "USER", "LANG", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	var declared []string
	for _, vars := range []map[string]string{p.env, secrets} {
		for name, v := range vars {
			declared = append(declared, name+"="+v)
		}
	}
	slices.Sort(declared)
	return append(env, declared...)
}

// noProgram is the problem of a command without a program.
func noProgram(field string) pipeline.FieldProblem {
	return pipeline.FieldProblem{Field: field, Message: "no program is named", Suggest: `write command: [python3, tool.py]`}
}
