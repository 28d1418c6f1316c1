package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"calrun/pipeline/canonical"
	"calrun/pipeline/document"
	"calrun/pipeline/field"
	"calrun/pipeline/suggest"
)

// The keys of each block of a plan; the schema is made of the same lists.
var (
	planKeys   = []string{"version", "name", "doc", "inputs", "shared", "limits", "steps", "remedies"}
	stepKeys   = []string{"uses", "doc", "needs", "timeout", "locks", "retry", "with"}
	gateKeys   = []string{"uses", "doc", "needs", "of", "assert", "warn", "routes"}
	remedyKeys = []string{"uses", "doc", "timeout", "locks", "retry", "sets", "forget", "with"}
	routeKeys  = []string{"when", "run", "set", "max"}
	inputTypes = []string{"string", "int", "float", "bool", "file", "dir"}
)

var (
	planName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	newer    = regexp.MustCompile(`^calrun/v([0-9]+)$`)
)

// header reads version, name and doc. It is false if nothing else can be
// trusted.
func (l *loader) header(root *document.Value) bool {
	if root.Form != document.Object {
		l.Complain(root.Pos, "", "a plan is an object, this is "+strings.TrimSuffix(root.String(), "."), "it begins with `version: "+Version+"`")
		return false
	}
	v := root.Get("version")
	switch {
	case v == nil:
		l.Complain(root.Pos, "", "version is missing", "write `version: "+Version+"`")
	case v.Form != document.Text || v.Text != Version:
		message, suggest := fmt.Sprintf("%s is not a version of plans", strings.TrimPrefix(v.String(), "")), "write "+Version
		if m := newer.FindStringSubmatch(v.Text); m != nil && v.Form == document.Text {
			message = fmt.Sprintf("the plan wants %s, this calrun reads %s", v.Text, Version)
			suggest = "install a newer calrun"
		}
		l.Complain(v.Pos, "version", message, suggest)
		return false
	}
	l.plan.Version = Version
	l.fields(root, "", planKeys)
	if v := root.Get("name"); v == nil {
		l.Complain(root.Pos, "", "name is missing", "runs are filed under it")
	} else if l.plan.Name = l.text(v, "name"); l.plan.Name != "" && !planName.MatchString(l.plan.Name) {
		l.Complain(v.Pos, "name", fmt.Sprintf("%q cannot name a folder", l.plan.Name), "letters, digits, dots, dashes and underscores, a letter or digit first")
	}
	if v := root.Get("doc"); v != nil {
		l.plan.Doc = l.text(v, "doc")
	}
	return true
}

// text reads a field that is plain text; "" after a complaint.
func (l *loader) text(v *document.Value, path string) string {
	if v.Form != document.Text {
		suggest := ""
		if v.Form == document.Number || v.Form == document.Bool {
			suggest = fmt.Sprintf("write %q", v.String())
		}
		l.Complain(v.Pos, path, v.String()+" is not text", suggest)
		return ""
	}
	if strings.Contains(v.Text, "${{") {
		l.Complain(v.Pos, path, "a reference cannot stand here", "references stand in `with`, `shared` and `set`")
		return ""
	}
	return v.Text
}

type inputFile struct {
	Type    string          `yaml:"type" required:"true" enum:"string,int,float,bool,file,dir" doc:"what it is"`
	Default json.RawMessage `yaml:"default" doc:"its value if none is given"`
	Doc     string          `yaml:"doc" doc:"one line on what it is"`
}

func (l *loader) inputs(v *document.Value) {
	declared := []string{}
	if v != nil && l.isObject(v, "inputs", "a name, with type, default and doc") {
		for _, p := range v.Pairs {
			declared = append(declared, p.Key)
			path := "inputs." + p.Key
			l.checkName(p, path, "an input")
			in := &Input{Name: p.Key, Line: p.Pos.Line, Col: p.Pos.Col}
			l.plan.Inputs = append(l.plan.Inputs, in)
			l.input(in, p, path)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.opt.Inputs)) {
		if !slices.Contains(declared, name) {
			l.Complain(document.Pos{}, "inputs", fmt.Sprintf("--input %s: the plan has no input %q", name, name), suggest.DidYouMeanOr(name, declared, "inputs"))
		}
	}
}

func (l *loader) input(in *Input, p document.Pair, path string) {
	if p.Val.Form == document.Null {
		l.Complain(p.Pos, path, "type is missing", "one of "+strings.Join(inputTypes, ", "))
		return
	}
	var f inputFile
	before := len(l.Problems)
	l.fill(p.Val, path, p.Key, &f, "")
	in.Type, in.Doc = f.Type, f.Doc
	if len(l.Problems) > before {
		return
	}
	if given, ok := l.opt.Inputs[in.Name]; ok {
		l.given(in, given)
		return
	}
	def := p.Val.Get("default")
	if def == nil || def.Form == document.Null {
		l.Doubt(p.Pos, path, fmt.Sprintf("%s has no value yet", in.Name), fmt.Sprintf("a run needs --input %s=...", in.Name))
		l.plan.lacks = append(l.plan.lacks, strings.TrimSpace(fmt.Sprintf("input %s (%s) has no value: give --input %s=...  %s", in.Name, in.Type, in.Name, in.Doc)))
		return
	}
	if strings.Contains(def.Text, "${{") && def.Form == document.Text {
		l.Complain(def.Pos, path+".default", "a reference cannot stand here", "an input is a plain value")
		return
	}
	l.plainDefault(in, def, path+".default")
}

func (l *loader) plainDefault(in *Input, def *document.Value, path string) {
	want := inputType(in.Type)
	if want.Sort == field.File {
		want = field.Type{Sort: field.Text}
	}
	d := &field.Decoder{Resolved: true}
	rt := goType(want)
	d.Field(reflect.New(rt).Elem(), field.New(in.Name, rt, ""), def, path)
	l.faults(d.Found)
	if len(d.Found) > 0 {
		return
	}
	tree := def.Plain()
	if inputType(in.Type).Sort == field.File {
		abs := field.Absolute(l.plan.Dir, def.Text)
		l.exists(def.Pos, path, def.Text, abs, in.Type)
		tree = abs
	}
	in.Value, _ = canonical.Encode(tree)
}

// goType is a Go type that holds a scalar of type t.
func goType(t field.Type) reflect.Type {
	switch {
	case t.Sort == field.Bool:
		return reflect.TypeFor[bool]()
	case t.Whole:
		return reflect.TypeFor[int64]()
	case t.Sort == field.Number:
		return reflect.TypeFor[float64]()
	case t.Sort == field.Span:
		return reflect.TypeFor[time.Duration]()
	}
	return reflect.TypeFor[string]()
}

// given reads the value that the command line gives an input.
func (l *loader) given(in *Input, s string) {
	bad := func(message string) {
		l.Complain(document.Pos{}, "inputs."+in.Name, fmt.Sprintf("--input %s: %s", in.Name, message), "")
	}
	var tree any = s
	switch in.Type {
	case "int":
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			bad(fmt.Sprintf("%q is not a whole number", s))
			return
		}
		tree = n
	case "float":
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			bad(fmt.Sprintf("%q is not a number", s))
			return
		}
		tree = f
	case "bool":
		if s != "true" && s != "false" {
			bad(fmt.Sprintf("%q is not true or false", s))
			return
		}
		tree = s == "true"
	case "file", "dir":
		dir := l.opt.InputDir
		if dir == "" {
			dir, _ = os.Getwd()
		}
		abs := field.Absolute(dir, s)
		if why := missing(abs, in.Type); s == "" || why != "" {
			if s == "" {
				why = "is no path"
			}
			bad(fmt.Sprintf("%q %s", s, why))
			return
		}
		tree = abs
	}
	in.Value, _ = canonical.Encode(tree)
}

// missing says what keeps a path from being a file or dir; "" if nothing.
func missing(abs, want string) string {
	info, err := os.Stat(abs)
	switch {
	case os.IsNotExist(err):
		return "does not exist"
	case err != nil:
		return "cannot be read: " + reason(err)
	case want == "dir" && !info.IsDir():
		return "is a file, not a folder"
	case want == "file" && info.IsDir():
		return "is a folder, not a file"
	}
	return ""
}

// exists warns about a path of the plan that is not there: the plan may be
// for another machine, but a run here would refuse it.
func (l *loader) exists(at document.Pos, path, text, abs, want string) {
	if why := missing(abs, want); why != "" {
		l.Doubt(at, path, fmt.Sprintf("%s %s", text, why), "relative paths start at the plan's folder")
		l.plan.lacks = append(l.plan.lacks, fmt.Sprintf("%s %s (%s)", abs, why, path))
	}
}

func inputType(name string) field.Type {
	t, err := field.ParseType(name)
	if err != nil {
		return field.Type{}
	}
	return t
}

type limitsFile struct {
	Rounds int           `yaml:"rounds" min:"1" max:"1000" doc:"most rounds of a run"`
	Wall   time.Duration `yaml:"wall" min:"1s" doc:"longest time of a run"`
}

type retryFile struct {
	Max  int           `yaml:"max" min:"0" max:"100" default:"1" doc:"further attempts after an error"`
	Wait time.Duration `yaml:"delay" min:"0s" doc:"pause before each of them"`
}

func (l *loader) limits(v *document.Value) {
	if v == nil {
		return
	}
	var f limitsFile
	l.fill(v, "limits", "limits", &f, "")
	l.plan.Limits = Limits(f)
}

// checkName holds the names of steps, inputs and assertions to what an
// expression can write after a dot.
func (l *loader) checkName(p document.Pair, path, what string) {
	if document.IsName(p.Key) {
		return
	}
	suggest := "letters, digits and underscores, a letter first"
	if fixed := regexp.MustCompile(`[^A-Za-z0-9_]`).ReplaceAllString(p.Key, "_"); document.IsName(fixed) {
		suggest = "write " + fixed
	}
	l.Complain(p.Pos, path, fmt.Sprintf("%q cannot be the name of %s: expressions could not read it", p.Key, what), suggest)
}
