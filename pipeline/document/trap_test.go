package document

import (
	"testing"

	"gopkg.in/yaml.v3"
)

// What the library does that a plan must not. Each test fails when an upgrade
// changes the trap: then look at the code that works around it.

func TestTrapYAML(t *testing.T) {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte("a: 1\na: 2\n"), &n); err != nil || len(n.Content[0].Content) != 4 {
		t.Errorf("a Node no longer takes a key twice: %v", err)
	}
	var strict struct{ A int }
	if err := yaml.Unmarshal([]byte("a: 1\nb: 2\n"), &n); err != nil {
		t.Fatal(err)
	}
	if err := n.Decode(&strict); err != nil {
		t.Errorf("Node.Decode knows fields now: %v", err)
	}
	tests := []struct{ reason, src, tag string }{
		{"a leading zero is octal", "a: 014", "!!int"},
		{"a bare date is a time", "a: 2026-01-02", "!!timestamp"},
		{".nan is a number", "a: .nan", "!!float"},
		{"! begins a tag", "a: !kv.fits", "!kv.fits"},
		{"yes is text in YAML 1.2", "a: yes", "!!str"},
	}
	for _, tt := range tests {
		if err := yaml.Unmarshal([]byte(tt.src), &n); err != nil {
			t.Errorf("%s: %v", tt.reason, err)
			continue
		}
		if got := n.Content[0].Content[1].Tag; got != tt.tag {
			t.Errorf("%s: tag %s, was %s", tt.reason, got, tt.tag)
		}
	}
	var octal struct{ A int }
	if err := yaml.Unmarshal([]byte("a: 014"), &octal); err != nil || octal.A != 12 {
		t.Errorf("014 is %d now (%v)", octal.A, err)
	}
	if err := yaml.Unmarshal([]byte("a: >-\n  one\n  two\n"), &n); err != nil {
		t.Fatal(err)
	}
	if v := n.Content[0].Content[1]; v.Line != 1 || v.Column != 4 {
		t.Errorf("a folded text is placed at %d:%d now, was at its >-", v.Line, v.Column)
	}
	if err := yaml.Unmarshal([]byte("a: {b: ${{ c }}}"), &n); err == nil {
		t.Error("a reference in { } no longer needs quotes")
	}
	if err := yaml.Unmarshal([]byte("a: x ? y : z"), &n); err == nil {
		t.Error("a conditional no longer needs quotes")
	}
}
