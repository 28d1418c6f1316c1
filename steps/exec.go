package steps

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"calrun/internal/process"
	"calrun/pipeline"
	"calrun/pipeline/field"

	"github.com/rs/zerolog"
)

var execKind = pipeline.Kind{
	Name:    "exec",
	Doc:     "Run a program of any language: one JSON document in, one out.",
	Version: 1,
	Repeat:  pipeline.Measured,
	New:     func() pipeline.Step { return &Exec{Repeat: "measured"} },
	Result:  struct{}{},
}

// Exec is a step in another language. The program finds on its stdin
//
//	{"calrun": "v1", "step": "<name>", "dir": "<folder to write into>", "input": <the step's input>, "secrets": {...}}
//
// and prints one JSON object with the declared fields on its stdout. Artefacts
// in the input carry a "path"; a declared file or dir is answered by a path
// below "dir". What it writes to stderr goes to the step's log. It runs in the
// plan's folder, with the declared environment beside PATH, HOME, USER, LANG
// and TMPDIR.
type Exec struct {
	Command   []string                   `yaml:"command" required:"true" doc:"program and arguments; relative paths start at the plan"`
	Env       map[string]string          `yaml:"env" doc:"environment of the program, beside PATH, HOME, USER, LANG and TMPDIR"`
	Secrets   map[string]pipeline.Secret `yaml:"secrets" doc:"secrets that the program finds under \"secrets\" of its stdin"`
	SecretEnv map[string]pipeline.Secret `yaml:"secret_env" doc:"secrets that the program finds in its environment, which its own children inherit"`
	Input     json.RawMessage            `yaml:"input" doc:"anything; the program finds it under \"input\""`
	Result    map[string]string          `yaml:"result" required:"true" doc:"what the program prints: field to type (float, int, bool, string, file, dir, [TYPE], {TYPE}; ? at the end if it may be absent)"`
	Repeat    string                     `yaml:"repeat" enum:"exact,seeded,measured" default:"measured" key:"-" doc:"what a second run with the same input yields"`

	root string
}

// Repeats is the declared repeatability.
func (s *Exec) Repeats() pipeline.Repeat {
	switch s.Repeat {
	case "exact":
		return pipeline.Exact
	case "seeded":
		return pipeline.Seeded
	}
	return pipeline.Measured
}

// Root takes the folder in which the program runs.
func (s *Exec) Root(dir string) { s.root = dir }

// ResultType is the declared result.
func (s *Exec) ResultType() (field.Type, error) {
	types, err := s.types()
	return field.NewObject(types), err
}

func (s *Exec) types() (map[string]field.Type, error) {
	out := map[string]field.Type{}
	var errs []error
	for _, name := range inNameOrder(s.Result) {
		t, err := field.ParseType(s.Result[name])
		if err != nil {
			errs = append(errs, fmt.Errorf("result.%s: %w", name, err))
			continue
		}
		out[name] = t
	}
	return out, errors.Join(errs...)
}

// Check finds an empty command and unknown types before anything runs.
func (s *Exec) Check(in pipeline.Static) []pipeline.FieldProblem {
	var out []pipeline.FieldProblem
	if len(s.Command) == 0 && !in.Dynamic("command") {
		out = append(out, noProgram("command"))
	}
	for _, name := range inNameOrder(s.SecretEnv) {
		if _, twice := s.Env[name]; twice {
			out = append(out, pipeline.FieldProblem{Field: "secret_env." + name, Message: name + " stands in env too", Suggest: "keep one of them"})
		}
	}
	return out
}

// Outside implements [pipeline.Outsider]: a program may be another, or none,
// on another machine.
func (s *Exec) Outside() bool { return true }

// Identity is the program itself, and every argument that is a file.
func (s *Exec) Identity(context.Context) (map[string]string, error) {
	return s.program().identity()
}

func (s *Exec) program() program {
	return program{command: s.Command, env: s.Env, root: s.root}
}

// ExecRequest is what the program reads.
type ExecRequest struct {
	Calrun  string            `json:"calrun" doc:"version of this contract"`
	Step    string            `json:"step" doc:"name of the step"`
	Dir     string            `json:"dir" doc:"folder to write files into"`
	Input   any               `json:"input" doc:"the step's input; an artefact in it has a path beside its digest"`
	Secrets map[string]string `json:"secrets,omitempty" doc:"values of the step's secrets: for use, never to be printed"`
}

// maxOutput bounds what a program may print as its result, in bytes.
const maxOutput = 64 << 20

// Run runs the program once.
func (s *Exec) Run(ctx context.Context, rt *pipeline.Runtime) (any, error) {
	p := s.program()
	path, err := p.find()
	if err != nil {
		return nil, err
	}
	req := ExecRequest{Calrun: "v1", Step: rt.Step(), Dir: rt.Dir()}
	if req.Input, err = withPaths(s.Input, rt); err != nil {
		return nil, fmt.Errorf("input: %w", err)
	}
	req.Secrets = revealed(s.Secrets)
	in, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("input: %w", err)
	}
	out := &capped{most: maxOutput}
	log := &lineLog{log: rt.Log()}
	masked := rt.Masking(log)
	err = process.Run(process.WithLease(ctx, rt.Lease()), process.Cmd{
		Args: append([]string{path}, s.Command[1:]...), Dir: s.root, Env: p.environment(revealed(s.SecretEnv)),
		Stdin: bytes.NewReader(in), Stdout: out, Stderr: masked,
	})
	_ = masked.Flush() // a log takes everything
	log.flush()
	if err != nil {
		return nil, err
	}
	return s.answer(out.Bytes(), rt)
}

// revealed are the values of secrets.
func revealed(secrets map[string]pipeline.Secret) map[string]string {
	out := map[string]string{}
	for name, secret := range secrets {
		out[name] = secret.Reveal()
	}
	return out
}

// withPaths decodes the input and adds to each artefact in it where it lies.
func withPaths(raw json.RawMessage, rt *pipeline.Runtime) (any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var tree any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	return tree, addPaths(tree, rt)
}

func addPaths(v any, rt *pipeline.Runtime) error {
	switch x := v.(type) {
	case []any:
		for _, e := range x {
			if err := addPaths(e, rt); err != nil {
				return err
			}
		}
	case map[string]any:
		of, isArtefact := x["artefact"].(string)
		digest, hasDigest := x["digest"].(string)
		if isArtefact && hasDigest && len(x) == 2 {
			path, err := rt.Open(pipeline.Artefact{Of: of, Digest: digest})
			x["path"] = path
			return err
		}
		for _, e := range x {
			if err := addPaths(e, rt); err != nil {
				return err
			}
		}
	}
	return nil
}

// answer holds what the program printed against what was declared.
func (s *Exec) answer(out []byte, rt *pipeline.Runtime) (any, error) {
	var doc map[string]any
	if err := json.Unmarshal(out, &doc); err != nil {
		return nil, fmt.Errorf("stdout is not one JSON object (%w): it begins with %.80q; print logs to stderr", err, rt.Masked(string(out)))
	}
	types, err := s.types()
	if err != nil {
		return nil, err
	}
	result := map[string]any{}
	for _, name := range inNameOrder(s.Result) {
		v, ok := doc[name]
		if !ok || v == nil {
			if types[name].Opt {
				continue
			}
			return nil, fmt.Errorf("stdout has no field %s, which the plan declares as %s", name, s.Result[name])
		}
		if result[name], err = answerAs(types[name], v, rt); err != nil {
			return nil, fmt.Errorf("stdout: field %s: %w", name, err)
		}
		delete(doc, name)
	}
	for name := range doc {
		if _, declared := s.Result[name]; !declared {
			return nil, fmt.Errorf("stdout has a field %s, which the plan does not declare; add it to result or leave it out", name)
		}
	}
	return result, nil
}

// answerAs checks a printed value against its declared type.
func answerAs(t field.Type, v any, rt *pipeline.Runtime) (any, error) {
	shown := rt.Masked(fmt.Sprint(v))
	wrong := fmt.Errorf("%.60s is no %s", shown, t)
	switch t.Sort {
	case field.Bool:
		if _, ok := v.(bool); !ok {
			return nil, wrong
		}
	case field.Number:
		if f, ok := v.(float64); !ok || t.Whole && f != float64(int64(f)) {
			return nil, wrong
		}
	case field.Text, field.Span:
		if _, ok := v.(string); !ok {
			return nil, wrong
		}
	case field.File:
		path, ok := v.(string)
		if !ok || path == "" {
			return nil, fmt.Errorf("%.60s is not the path of a file or folder", shown)
		}
		return pipeline.Artefact{Of: t.Holds, Path: path}, nil
	case field.List:
		list, ok := v.([]any)
		if !ok {
			return nil, wrong
		}
		for i := range list {
			e, err := answerAs(*t.Elem, list[i], rt)
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			list[i] = e
		}
	case field.Map:
		m, ok := v.(map[string]any)
		if !ok {
			return nil, wrong
		}
		for k := range m {
			e, err := answerAs(*t.Elem, m[k], rt)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			m[k] = e
		}
	}
	return v, nil
}

// capped is a buffer that does not fill the memory.
type capped struct {
	bytes.Buffer
	most int
}

func (c *capped) Write(p []byte) (int, error) {
	if c.Len()+len(p) > c.most {
		return 0, fmt.Errorf("a result may have %d bytes; write more than that to a file", c.most)
	}
	return c.Buffer.Write(p)
}

// lineLog passes a program's stderr to the log, line by line.
type lineLog struct {
	log  *zerolog.Logger
	rest []byte
}

func (l *lineLog) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		l.say(l.rest[:i])
		l.rest = l.rest[i+1:]
	}
}

func (l *lineLog) flush() {
	if len(l.rest) > 0 {
		l.say(l.rest)
		l.rest = nil
	}
}

func (l *lineLog) say(line []byte) {
	if text := strings.TrimRight(string(line), "\r "); text != "" {
		l.log.Info().Msg(text)
	}
}

var (
	_ pipeline.Step        = (*Exec)(nil)
	_ pipeline.ResultTyper = (*Exec)(nil)
	_ pipeline.Identifier  = (*Exec)(nil)
	_ pipeline.Repeater    = (*Exec)(nil)
	_ pipeline.Rooted      = (*Exec)(nil)
	_ pipeline.Checker     = (*Exec)(nil)
)
