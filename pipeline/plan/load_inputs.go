package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"calrun/pipeline/canonical"
	"calrun/pipeline/document"
	"calrun/pipeline/field"
	"calrun/pipeline/secret"
	"calrun/pipeline/suggest"
)

type inputFile struct {
	Type    string          `yaml:"type" required:"true" enum:"string,int,float,bool,file,dir,secret" doc:"what it is"`
	Default json.RawMessage `yaml:"default" doc:"its value if none is given"`
	Env     string          `yaml:"env" doc:"of a secret: the environment variable that holds it"`
	File    string          `yaml:"file" doc:"of a secret: the file that holds it"`
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
	given, ok := l.opt.Inputs[in.Name]
	if in.Type == secretInput {
		l.secret(in, f, given, p, path)
		return
	}
	for _, key := range []string{"env", "file"} {
		if own := p.Val.Pair(key); own != nil {
			l.Complain(own.Pos, document.Join(path, key), fmt.Sprintf("only a secret has %s, %s is a %s", key, in.Name, in.Type), "write type: secret, or default: VALUE")
		}
	}
	if ok {
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

// secretInput is the type of an input that nobody may read.
const secretInput = "secret"

// secret finds out where a secret comes from. Its value is no part of the
// plan, and nothing here repeats what was given in its place.
func (l *loader) secret(in *Input, f inputFile, given string, p document.Pair, path string) {
	_, wasGiven := l.opt.Inputs[in.Name]
	name := document.Pos{Line: p.Pos.Line, Col: p.Pos.Col, Width: document.Width(p.Key)}
	if def := p.Val.Pair("default"); def != nil {
		l.Complain(def.Pos, path+".default", "a secret does not stand in a plan", "name where it is: env: NAME or file: PATH")
		return
	}
	switch {
	case f.Env != "" && f.File != "":
		l.Complain(p.Val.Pair("file").Pos, path+".file", "a secret comes from one place, and env is given too", "keep one of them")
		return
	case wasGiven:
		var ok bool
		if in.Source, ok = secret.ParseSource(given); !ok {
			l.Complain(document.Pos{}, path, fmt.Sprintf("--input %s: a secret is not given on the command line, which every process of this host can read", in.Name),
				fmt.Sprintf("give --input %s=@env:NAME or --input %s=@file:PATH", in.Name, in.Name))
			return
		}
		in.Source.File = from(l.inputDir(), in.Source.File)
	case f.Env != "" || f.File != "":
		in.Source = secret.Source{Env: f.Env, File: from(l.plan.Dir, f.File)}
	default:
		l.lacks(name, path, fmt.Sprintf("%s has no value yet", in.Name), fmt.Sprintf("input %s (secret) has no value: give --input %s=@env:NAME or --input %s=@file:PATH", in.Name, in.Name, in.Name))
		return
	}
	in.Value, _ = canonical.Encode(map[string]string{"secret": in.Name})
	if why := in.Source.Missing(); why != "" {
		l.lacks(name, path, fmt.Sprintf("%s has no value here: %s", in.Name, why), fmt.Sprintf("input %s (secret): %s", in.Name, why))
	}
}

// inputDir is where relative paths on the command line start.
func (l *loader) inputDir() string {
	if l.opt.InputDir != "" {
		return l.opt.InputDir
	}
	dir, _ := os.Getwd()
	return dir
}

// from is a path as seen from dir; "" stays.
func from(dir, path string) string {
	if path == "" {
		return ""
	}
	return field.Absolute(dir, path)
}

// lacks notes what keeps the plan from running here, and doubts it.
func (l *loader) lacks(at document.Pos, path, doubt, lack string) {
	l.Doubt(at, path, doubt, "a run needs it")
	l.plan.lacks = append(l.plan.lacks, lack)
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
		abs := field.Absolute(l.inputDir(), s)
		why := "is no path"
		if s != "" {
			why = missing(abs, in.Type)
		}
		if why != "" && !l.opt.Recorded {
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
	if name == secretInput {
		return field.Type{Sort: field.Hidden}
	}
	t, err := field.ParseType(name)
	if err != nil {
		return field.Type{}
	}
	return t
}
