package pipeline

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
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
	nameRule = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	newer    = regexp.MustCompile(`^calrun/v([0-9]+)$`)
)

// decoded is a Go value to be filled.
type decoded struct{ rv reflect.Value }

// header reads version, name and doc. It is false if nothing else can be
// trusted.
func (l *loader) header(root *value) bool {
	if root.form != isObject {
		l.complain(root.pos, "", "a plan is an object, this is "+strings.TrimSuffix(root.String(), "."), "it begins with `version: "+Version+"`")
		return false
	}
	v := root.get("version")
	switch {
	case v == nil:
		l.complain(root.pos, "", "version is missing", "write `version: "+Version+"`")
	case v.form != isText || v.text != Version:
		message, suggest := fmt.Sprintf("%s is not a version of plans", strings.TrimPrefix(v.String(), "")), "write "+Version
		if m := newer.FindStringSubmatch(v.text); m != nil && v.form == isText {
			message = fmt.Sprintf("the plan wants %s, this calrun reads %s", v.text, Version)
			suggest = "install a newer calrun"
		}
		l.complain(v.pos, "version", message, suggest)
		return false
	}
	l.plan.Version = Version
	l.fields(root, "", planKeys)
	if v := root.get("name"); v == nil {
		l.complain(root.pos, "", "name is missing", "runs are filed under it")
	} else if l.plan.Name = l.text(v, "name"); l.plan.Name != "" && !planName.MatchString(l.plan.Name) {
		l.complain(v.pos, "name", fmt.Sprintf("%q cannot name a folder", l.plan.Name), "letters, digits, dots, dashes and underscores, a letter or digit first")
	}
	if v := root.get("doc"); v != nil {
		l.plan.Doc = l.text(v, "doc")
	}
	return true
}

// text reads a field that is plain text; "" after a complaint.
func (l *loader) text(v *value, path string) string {
	if v.form != isText {
		suggest := ""
		if v.form == isNumber || v.form == isBool {
			suggest = fmt.Sprintf("write %q", v.String())
		}
		l.complain(v.pos, path, v.String()+" is not text", suggest)
		return ""
	}
	if strings.Contains(v.text, "${{") {
		l.complain(v.pos, path, "a reference cannot stand here", "references stand in `with`, `shared` and `set`")
		return ""
	}
	return v.text
}

type inputFile struct {
	Type    string          `yaml:"type" required:"true" enum:"string,int,float,bool,file,dir" doc:"what it is"`
	Default json.RawMessage `yaml:"default" doc:"its value if none is given"`
	Doc     string          `yaml:"doc" doc:"one line on what it is"`
}

func (l *loader) inputs(v *value) {
	declared := []string{}
	if v != nil && l.isObject(v, "inputs", "a name, with type, default and doc") {
		for _, p := range v.pairs {
			declared = append(declared, p.key)
			path := "inputs." + p.key
			l.checkName(p, path, "an input")
			in := &Input{Name: p.key, Line: p.pos.line, Col: p.pos.col}
			l.plan.Inputs = append(l.plan.Inputs, in)
			l.input(in, p, path)
		}
	}
	for _, name := range sortedKeys(l.opt.Inputs) {
		if !contains(declared, name) {
			l.complain(pos{}, "inputs", fmt.Sprintf("--input %s: the plan has no input %q", name, name), didYouMeanOr(name, declared, "inputs"))
		}
	}
}

func (l *loader) input(in *Input, p pair, path string) {
	if p.val.form == isNull {
		l.complain(p.pos, path, "type is missing", "one of "+strings.Join(inputTypes, ", "))
		return
	}
	var f inputFile
	before := len(l.problems)
	l.fill(p.val, path, &field{name: p.key, shape: shapeOf(reflect.TypeOf(f), "")}, &decoded{reflect.ValueOf(&f).Elem()})
	in.Type, in.Doc = f.Type, f.Doc
	if len(l.problems) > before {
		return
	}
	if given, ok := l.opt.Inputs[in.Name]; ok {
		l.given(in, given)
		return
	}
	def := p.val.get("default")
	if def == nil || def.form == isNull {
		l.doubt(p.pos, path, fmt.Sprintf("%s has no value yet", in.Name), fmt.Sprintf("a run needs --input %s=...", in.Name))
		l.plan.lacks = append(l.plan.lacks, strings.TrimSpace(fmt.Sprintf("input %s (%s) has no value: give --input %s=...  %s", in.Name, in.Type, in.Name, in.Doc)))
		return
	}
	if strings.Contains(def.text, "${{") && def.form == isText {
		l.complain(def.pos, path+".default", "a reference cannot stand here", "an input is a plain value")
		return
	}
	l.plainDefault(in, def, path+".default")
}

func (l *loader) plainDefault(in *Input, def *value, path string) {
	want := inputType(in.Type)
	if want.Sort == File {
		want = textType
	}
	d := &decoder{resolved: true}
	d.scalar(reflect.New(goType(want)).Elem(), &field{name: in.Name, shape: &shape{typ: want}}, def, path)
	l.faults(d.found)
	if len(d.found) > 0 {
		return
	}
	tree := def.plainJSON()
	if inputType(in.Type).Sort == File {
		abs := absolute(l.plan.Dir, def.text)
		l.exists(def.pos, path, def.text, abs, in.Type)
		tree = abs
	}
	in.Value, _ = encode(tree)
}

// goType is a Go type that holds a scalar of type t.
func goType(t Type) reflect.Type {
	switch {
	case t.Sort == Bool:
		return reflect.TypeFor[bool]()
	case t.Whole:
		return reflect.TypeFor[int64]()
	case t.Sort == Number:
		return reflect.TypeFor[float64]()
	case t.Sort == Span:
		return durationGo
	}
	return reflect.TypeFor[string]()
}

// given reads the value that the command line gives an input.
func (l *loader) given(in *Input, s string) {
	bad := func(message, suggest string) {
		l.complain(pos{}, "inputs."+in.Name, fmt.Sprintf("--input %s: %s", in.Name, message), suggest)
	}
	var tree any = s
	switch in.Type {
	case "int":
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			bad(fmt.Sprintf("%q is not a whole number", s), "")
			return
		}
		tree = n
	case "float":
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			bad(fmt.Sprintf("%q is not a number", s), "")
			return
		}
		tree = f
	case "bool":
		if s != "true" && s != "false" {
			bad(fmt.Sprintf("%q is not true or false", s), "")
			return
		}
		tree = s == "true"
	case "file", "dir":
		dir := l.opt.InputDir
		if dir == "" {
			dir, _ = os.Getwd()
		}
		abs := absolute(dir, s)
		if why := missing(abs, in.Type); s == "" || why != "" {
			if s == "" {
				why = "is no path"
			}
			bad(fmt.Sprintf("%q %s", s, why), "")
			return
		}
		tree = abs
	}
	in.Value, _ = encode(tree)
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
func (l *loader) exists(at pos, path, text, abs, want string) {
	if why := missing(abs, want); why != "" {
		l.doubt(at, path, fmt.Sprintf("%s %s", text, why), "relative paths start at the plan's folder")
		l.plan.lacks = append(l.plan.lacks, fmt.Sprintf("%s %s (%s)", abs, why, path))
	}
}

func inputType(name string) Type {
	t, err := ParseType(name)
	if err != nil {
		return anyType
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

func (l *loader) limits(v *value) {
	if v == nil {
		return
	}
	var f limitsFile
	l.fill(v, "limits", &field{name: "limits", shape: shapeOf(reflect.TypeOf(f), "")}, &decoded{reflect.ValueOf(&f).Elem()})
	l.plan.Limits = Limits(f)
}

// checkName holds the names of steps, inputs and assertions to what an
// expression can write after a dot.
func (l *loader) checkName(p pair, path, what string) {
	if nameRule.MatchString(p.key) {
		return
	}
	suggest := "letters, digits and underscores, a letter first"
	if fixed := regexp.MustCompile(`[^A-Za-z0-9_]`).ReplaceAllString(p.key, "_"); nameRule.MatchString(fixed) {
		suggest = "write " + fixed
	}
	l.complain(p.pos, path, fmt.Sprintf("%q cannot be the name of %s: expressions could not read it", p.key, what), suggest)
}
