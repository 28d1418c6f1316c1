package plan

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"calrun/pipeline/document"
	"calrun/pipeline/expr"
	"calrun/pipeline/field"
	"calrun/pipeline/kind"
	"calrun/pipeline/suggest"
)

// LoadOptions say what a plan is loaded with.
type LoadOptions struct {
	Kinds  *kind.Kinds
	Inputs map[string]string // values of inputs as the command line gives them
	// InputDir is where relative paths among Inputs start; the current folder
	// if empty. Those in the plan start at the plan.
	InputDir string
	// Recorded says that the plan is that of a run that was: the files among its
	// Inputs need not be there any more.
	Recorded bool
}

// Load reads a plan and checks all of it. The plan is nil if a problem is
// more than a warning.
func Load(path string, opt LoadOptions) (*Plan, document.Problems) {
	src, err := os.ReadFile(path)
	if err != nil {
		p := document.Problem{File: path, Message: "the plan cannot be read: " + reason(err)}
		if errors.Is(err, fs.ErrNotExist) {
			p.Message, p.Suggest = "there is no such file", "correct the path"
		}
		return nil, document.Problems{p}
	}
	return LoadBytes(path, src, opt)
}

// LoadBytes is [Load] for a source that is already read; path is what
// problems name and what relative paths start from.
func LoadBytes(path string, src []byte, opt LoadOptions) (*Plan, document.Problems) {
	l := &loader{Source: document.NewSource(path, src), opt: opt, plan: &Plan{File: path, Source: src}}
	if dir, err := filepath.Abs(filepath.Dir(path)); err == nil {
		l.plan.Dir = dir
	}
	if root := l.Parse(src); root != nil {
		l.load(root)
	}
	l.Problems.Sort()
	if l.Failed() {
		return nil, l.Problems
	}
	return l.plan, l.Problems
}

// loader turns the value tree of one file into a plan. Each stage goes on
// after problems with what it could read; what hangs on a faulty part is
// skipped without a word.
type loader struct {
	*document.Source
	opt    LoadOptions
	plan   *Plan
	shared []document.Pair
	taken  map[string]bool // shared fields that some step declares
	read   map[string]bool // inputs that something reads
	edges  map[string][]edge
	texts  templates
	syntax *expr.Syntax // of references
	lost   bool         // a route cannot be read: which remedy it means, nobody knows
}

// edge is one reason why a step waits for another.
type edge struct {
	to   string
	at   document.Pos
	path string
}

func (l *loader) load(root *document.Value) {
	l.taken, l.read, l.edges, l.texts = map[string]bool{}, map[string]bool{}, map[string][]edge{}, templates{}
	l.plan.decls = map[string]*Decl{}
	if !l.header(root) {
		return
	}
	l.inputs(root.Get("inputs"))
	l.limits(root.Get("limits"))
	if v := root.Get("shared"); v != nil && l.isObject(v, "shared", "fields that several steps share") {
		l.shared = v.Pairs
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
func (l *loader) all() []*Decl { return slices.Concat(l.plan.Steps, l.plan.Remedies) }

// where is the path of a step's or remedy's block.
func (d *Decl) where() string {
	if d.Remedy {
		return "remedies." + d.Name
	}
	return "steps." + d.Name
}

// name is the place of its name in the file.
func (d *Decl) name() document.Pos {
	return document.Pos{Line: d.Line, Col: d.Col, Width: document.Width(d.Name)}
}

// isObject complains about what should be a block of fields and is not.
func (l *loader) isObject(v *document.Value, path, want string) bool {
	switch v.Form {
	case document.Object:
		return true
	case document.Null:
		return false
	}
	l.Complain(v.Pos, path, v.String()+" is not an object", want)
	return false
}

// fields checks that v is an object with none but the known keys.
func (l *loader) fields(v *document.Value, path string, known []string) bool {
	if v.Form == document.Null {
		l.Complain(v.Name(), path, "is empty", "it has "+suggest.AndMore(known, 12))
		return false
	}
	if !l.isObject(v, path, "it has "+suggest.AndMore(known, 12)) {
		return false
	}
	for _, p := range v.Pairs {
		if !slices.Contains(known, p.Key) {
			l.Complain(p.Pos, document.Join(path, p.Key), "unknown field "+document.Quote(p.Key), suggest.DidYouMeanOr(p.Key, known, "fields"))
		}
	}
	return true
}

// fill decodes a small block of the plan itself with the decoder of `with`s.
// into is a pointer, tag holds the bounds.
func (l *loader) fill(v *document.Value, path, name string, into any, tag reflect.StructTag) {
	if at := v.FirstReference(); at != nil {
		l.Complain(at.Pos, path, "a reference cannot stand here", "references stand in `with`, `shared` and `set`")
		return
	}
	d := &field.Decoder{Dir: l.plan.Dir}
	rv := reflect.ValueOf(into).Elem()
	d.Field(rv, field.New(name, rv.Type(), tag), v, path)
	l.faults(d.Found)
}

func (l *loader) faults(found []field.Fault) {
	for _, f := range found {
		l.Complain(f.At, f.Path, f.Message, f.Suggest)
	}
}

// reason is a file error without the path, which the problem names itself.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return strings.TrimSpace(err.Error())
}
