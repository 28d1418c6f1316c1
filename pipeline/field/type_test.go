package field

import "testing"

func TestParseType(t *testing.T) {
	tests := []struct{ src, want, bad string }{
		{"number", "number", ""},
		{"int", "whole number", ""},
		{"[string]", "list of texts", ""},
		{"{number}", "map of numbers", ""},
		{"[[int]]?", "list of lists of whole numbers", ""},
		{"dir", "folder", ""},
		{"artefact measurement", "measurement", ""},
		{"boolean", "", `"boolean" is not a type`},
		{"artefact ", "", "is not a type"},
		{"[]", "", "is not a type"},
	}
	for _, tt := range tests {
		got, err := ParseType(tt.src)
		if (err != nil) != (tt.bad != "") || err == nil && got.String() != tt.want {
			t.Errorf("%q is %s, %v; want %q", tt.src, got, err, tt.want)
		}
	}
	if opt, err := ParseType("number?"); err != nil || !opt.Opt {
		t.Errorf("number? is %+v, %v", opt, err)
	}
}

func TestTakes(t *testing.T) {
	file := func(holds string) Type { return Type{Sort: File, Holds: holds} }
	list := func(of Type) Type { return Type{Sort: List, Elem: &of} }
	params := NewObject(map[string]Type{"cap": wholeType, "scale": numberType})
	tests := []struct {
		reason     string
		want, from Type
		ok         bool
	}{
		{"numbers are one type", wholeType, numberType, true},
		{"text is no number", numberType, textType, false},
		{"a duration is written as text", spanType, textType, true},
		{"the same sort of artefact", file("measurement"), file("measurement"), true},
		{"another sort", file("measurement"), file("simulation"), false},
		{"an input folder may hold anything", file("measurement"), file("dir"), true},
		{"an artefact is no text", textType, file("measurement"), false},
		{"lists by their elements", list(numberType), list(textType), false},
		{"objects by their fields", params, params, true},
		{"a field that is not there", params, NewObject(map[string]Type{"zebra": numberType}), false},
		{"what nobody knows", params, anyType, true},
	}
	for _, tt := range tests {
		if got := tt.want.Takes(tt.from); got != tt.ok {
			t.Errorf("%s: %v", tt.reason, got)
		}
	}
}
