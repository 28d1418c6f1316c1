package field

import (
	"encoding/json"
	"fmt"
	"reflect"

	"calrun/pipeline/document"
	"calrun/pipeline/secret"
)

// Secret is a value that a step may use and nobody may read: a key, a
// password. In a plan it is a reference to an input of type secret, or names
// its source, {env: NAME} or {file: PATH}; in the journal and in a step's key
// it is that name. Printed, by whatever verb, it is its name too.
//
// The tag `secret:"env"` makes the field a text that names an environment
// variable.
type Secret struct {
	Name   string        // of the plan's input; empty where Source is set
	Source secret.Source // where it is read
	value  string
}

// IsZero says whether the secret was left out.
func (s Secret) IsZero() bool { return s.Name == "" && s.Source == (secret.Source{}) }

// Reveal is the value: for a header or a program's stdin, never for a command
// line, an error or a result. It is empty until the step is about to run.
func (s Secret) Reveal() string { return s.value }

// With returns the secret with its value.
func (s Secret) With(value string) Secret {
	s.value = value
	return s
}

// String names the secret.
func (s Secret) String() string {
	if s.Name != "" {
		return "secret " + s.Name
	}
	return "secret " + s.Source.Name()
}

// Format prints the name for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalJSON is the secret as the journal has it: {"secret": name}, or its
// source.
func (s Secret) MarshalJSON() ([]byte, error) {
	if s.Name != "" {
		return json.Marshal(map[string]string{"secret": s.Name})
	}
	return json.Marshal(s.Source)
}

var secretType = reflect.TypeFor[Secret]()

// fromEnv is what the tag of a field says that is the name of a variable.
const fromEnv = "env"

const secretHint = "a reference to an input of type secret, or {env: NAME}, or {file: PATH}"

func (d *Decoder) secret(rv reflect.Value, fd *Field, v *document.Value, path string) {
	if v.Form == document.Text && fd.Shape.Type.Holds == fromEnv {
		if v.Text != "" {
			rv.Set(reflect.ValueOf(Secret{Source: secret.Source{Env: v.Text}}))
		}
		return
	}
	if v.Form != document.Object { // what is written there may be the secret: it is not repeated
		d.wrong(v.Pos, path, secretHint, "a secret does not stand in a plan")
		return
	}
	var s Secret
	if len(v.Pairs) != 1 {
		d.wrong(v.Pos, path, secretHint, "a secret comes from one place")
		return
	}
	p := v.Pairs[0]
	at := document.Join(path, p.Key)
	value := p.Val
	if inner := value.Get("path"); p.Key == "file" && inner != nil {
		value = inner // as a resolved `with` has it
	}
	if value.Form != document.Text || value.Text == "" {
		d.wrong(value.Pos, at, secretHint, "%s does not name where the secret is", p.Key)
		return
	}
	switch p.Key {
	case "secret":
		s.Name = value.Text
	case "env":
		s.Source.Env = value.Text
	case "file":
		d.tell(value, Type{Sort: File, Holds: "file"}, at)
		s.Source.File = Absolute(d.Dir, value.Text)
	default:
		d.wrong(p.Pos, at, secretHint, "unknown field %q", p.Key)
		return
	}
	rv.Set(reflect.ValueOf(s))
}

// secretSchema is what a plan may write for a secret, a reference apart.
func (sh *Shape) secretSchema() map[string]any {
	if sh.Type.Holds == fromEnv {
		return map[string]any{"type": "string"}
	}
	text := map[string]any{"type": "string", "minLength": 1}
	return map[string]any{
		"type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
		"properties": map[string]any{"env": text, "file": text},
	}
}

// EachSecret calls fn for every secret in a step, and lets it change the
// secret in place. step is a pointer.
func EachSecret(step any, fn func(s *Secret) error) error {
	return each(reflect.ValueOf(step), "", func(s *Secret, _ string) error { return fn(s) })
}
