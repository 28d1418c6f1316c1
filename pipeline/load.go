package pipeline

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/expr-lang/expr/conf"
)

// LoadOptions say what a plan is loaded with.
type LoadOptions struct {
	Kinds  *Kinds
	Inputs map[string]string // values of inputs as the command line gives them
	// InputDir is where relative paths among Inputs start; the current folder
	// if empty. Those in the plan start at the plan.
	InputDir string
}

// Load reads a plan and checks all of it. The plan is nil if a problem is
// more than a warning.
func Load(path string, opt LoadOptions) (*Plan, Problems) {
	src, err := os.ReadFile(path)
	if err != nil {
		p := Problem{File: path, Message: "the plan cannot be read: " + reason(err)}
		if errors.Is(err, fs.ErrNotExist) {
			p.Message, p.Suggest = "there is no such file", "correct the path"
		}
		return nil, Problems{p}
	}
	return LoadBytes(path, src, opt)
}

// LoadBytes is [Load] for a source that is already read; path is what
// problems name and what relative paths start from.
func LoadBytes(path string, src []byte, opt LoadOptions) (*Plan, Problems) {
	l := &loader{source: newSource(path, src), opt: opt, plan: &Plan{File: path, Source: src}}
	if dir, err := filepath.Abs(filepath.Dir(path)); err == nil {
		l.plan.Dir = dir
	}
	if root := l.parse(src); root != nil {
		l.load(root)
	}
	sortProblems(l.problems)
	if l.failed() {
		return nil, l.problems
	}
	return l.plan, l.problems
}

// loader turns the value tree of one file into a plan. Each stage goes on
// after problems with what it could read; what hangs on a faulty part is
// skipped without a word.
type loader struct {
	*source
	opt    LoadOptions
	plan   *Plan
	shared []pair
	taken  map[string]bool // shared fields that some step declares
	read   map[string]bool // inputs that something reads
	edges  map[string][]edge
	syntax *conf.Config // of references
	lost   bool         // a route cannot be read: which remedy it means, nobody knows
}

// edge is one reason why a step waits for another.
type edge struct {
	to   string
	at   pos
	path string
}

func (l *loader) load(root *value) {
	l.taken, l.read, l.edges = map[string]bool{}, map[string]bool{}, map[string][]edge{}
	l.plan.decls = map[string]*Decl{}
	if !l.header(root) {
		return
	}
	l.inputs(root.get("inputs"))
	l.limits(root.get("limits"))
	if v := root.get("shared"); v != nil && l.isObject(v, "shared", "fields that several steps share") {
		l.shared = v.pairs
	}
	l.decls(root)
	for _, d := range l.all() {
		if d.with != nil {
			l.decode(d)
		}
	}
	l.unusedShared()
	for _, d := range l.all() {
		if d.with != nil {
			l.references(d)
		}
	}
	l.waits()
	l.graph()
	l.static()
	l.gates()
	l.overrides()
	l.reach()
	l.unusedInputs()
}

// all returns steps and remedies in file order.
func (l *loader) all() []*Decl {
	out := make([]*Decl, 0, len(l.plan.Steps)+len(l.plan.Remedies))
	return append(append(out, l.plan.Steps...), l.plan.Remedies...)
}

// where is the path of a step's or remedy's block.
func (d *Decl) where() string {
	if d.Remedy {
		return "remedies." + d.Name
	}
	return "steps." + d.Name
}

// isObject complains about what should be a block of fields and is not.
func (l *loader) isObject(v *value, path, want string) bool {
	switch v.form {
	case isObject:
		return true
	case isNull:
		return false
	}
	l.complain(v.pos, path, v.String()+" is not an object", want)
	return false
}

// fields checks that v is an object with none but the known keys.
func (l *loader) fields(v *value, path string, known []string) bool {
	if v.form == isNull {
		l.complain(v.name(), path, "is empty", "it has "+andMore(known, 12))
		return false
	}
	if !l.isObject(v, path, "it has "+andMore(known, 12)) {
		return false
	}
	for _, p := range v.pairs {
		if !contains(known, p.key) {
			l.complain(p.pos, join(path, p.key), "unknown field "+quote(p.key), didYouMeanOr(p.key, known, "fields"))
		}
	}
	return true
}

// fill decodes a small block of the plan itself with the decoder of `with`s.
func (l *loader) fill(v *value, path string, fd *field, into *decoded) {
	if at := v.firstReference(); at != nil {
		l.complain(at.pos, path, "a reference cannot stand here", "references stand in `with`, `shared` and `set`")
		return
	}
	d := &decoder{dir: l.plan.Dir}
	d.field(into.rv, fd, v, path)
	l.faults(d.found)
}

func (l *loader) faults(found []fault) {
	for _, f := range found {
		l.complain(f.at, f.path, f.message, f.suggest)
	}
}

func quote(s string) string { return `"` + shorten(s, 60) + `"` }

// reason is a file error without the path, which the problem names itself.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return strings.TrimSpace(err.Error())
}
