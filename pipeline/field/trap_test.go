package field

import (
	"testing"

	"github.com/xeipuuv/gojsonschema"
)

// What the library does that a plan must not. Each test fails when an upgrade
// changes the trap: then look at the code that works around it.

func TestTrapSchema(t *testing.T) {
	s, err := gojsonschema.NewSchema(gojsonschema.NewStringLoader(`{
		"properties": {"n": {"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^x"}]}},
		"if": {"properties": {"k": {"const": "a"}}, "required": ["k"]},
		"then": {"required": ["m"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Validate(gojsonschema.NewStringLoader(`{"k": "a", "n": true}`))
	if err != nil {
		t.Fatal(err)
	}
	var wrappers, plain int
	for _, e := range res.Errors() {
		if wrapper(e) {
			wrappers++
		} else {
			plain++
		}
	}
	if wrappers != 2 || plain == 0 {
		t.Errorf("%d wrappers and %d errors, were 2 and some: %v", wrappers, plain, res.Errors())
	}
}
