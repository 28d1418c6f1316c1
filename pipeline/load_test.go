package pipeline

import (
	"testing"
)

func TestReferencePlanLoads(t *testing.T) {
	p, problems := Load("testdata/good/llama3-70b-4xa100.yaml", LoadOptions{Kinds: fakeKinds()})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	t.Log(problems)
	for _, d := range p.Order() {
		t.Log(d.Name, p.After(d.Name))
	}
}
