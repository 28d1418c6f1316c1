package plan

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"calrun/pipeline/document"
)

// The keys of each block of a plan; the schema is made of the same lists.
var (
	planKeys   = []string{"version", "name", "doc", "inputs", "shared", "limits", "steps", "remedies"}
	stepKeys   = []string{"uses", "doc", "needs", "timeout", "locks", "retry", "with"}
	gateKeys   = []string{"uses", "doc", "needs", "of", "assert", "warn", "routes"}
	remedyKeys = []string{"uses", "doc", "timeout", "locks", "retry", "sets", "forget", "with"}
	routeKeys  = []string{"when", "run", "set", "max"}
	inputTypes = []string{"string", "int", "float", "bool", "file", "dir", "secret"}
)

var (
	planName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	newer    = regexp.MustCompile(`^calrun/v([0-9]+)$`)
)

// header reads version, name and doc. It is false if nothing else can be
// trusted.
func (l *loader) header(root *document.Value) bool {
	if root.Form != document.Object {
		l.Complain(root.Pos, "", "a plan is an object, this is "+root.String(), "it begins with `version: "+Version+"`")
		return false
	}
	v := root.Get("version")
	switch {
	case v == nil:
		l.Complain(root.Pos, "", "version is missing", "write `version: "+Version+"`")
	case v.Form != document.Text || v.Text != Version:
		message, suggest := fmt.Sprintf("%s is not a version of plans", v), "write "+Version
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
