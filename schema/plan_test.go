package schema_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/xeipuuv/gojsonschema"
	"gopkg.in/yaml.v3"

	"calrun/cmd/calrun/cli"
	"calrun/pipeline"
	"calrun/schema"
	"calrun/steps"
)

var update = flag.Bool("update", false, "write the generated schemas anew")

// The schemas that are checked in are those that the kinds and the documents
// make.
func TestSchemasAreGenerated(t *testing.T) {
	checkedIn := map[string][]byte{"plan": schema.Plan, "run": schema.Run, "event": schema.Event, "compare": schema.Compare, "exec": schema.Exec, "step": schema.Step}
	made := cli.Schemas(pipeline.NewKinds(steps.Builtin()...))
	if len(made) != len(checkedIn) {
		t.Errorf("%d schemas are made, %d checked in", len(made), len(checkedIn))
	}
	for name, sch := range made {
		want, err := json.MarshalIndent(sch, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, '\n')
		if *update {
			if err := os.WriteFile(name+".v1.json", want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !bytes.Equal(checkedIn[name], want) {
			t.Errorf("%s.v1.json is not what the program makes: run `go test ./schema -update` and read the diff", name)
		}
		if _, err := gojsonschema.NewSchema(gojsonschema.NewBytesLoader(want)); err != nil {
			t.Errorf("%s is no schema: %v", name, err)
		}
	}
}

// What calrun loads, an editor must not underline.
func TestPlanSchemaTakesShippedPlans(t *testing.T) {
	compiled, err := gojsonschema.NewSchema(gojsonschema.NewBytesLoader(schema.Plan))
	if err != nil {
		t.Fatal(err)
	}
	plans, err := filepath.Glob("../plans/*.yaml")
	if err != nil || len(plans) == 0 {
		t.Fatalf("no plans to check: %v", err)
	}
	for _, file := range plans {
		t.Run(filepath.Base(file), func(t *testing.T) {
			for _, e := range validate(t, compiled, file) {
				t.Error(e)
			}
		})
	}
}

// The schema must also refuse: a misspelt field, a kind that is not there, a
// value of another type, a key of gates on a step.
func TestPlanSchemaRefuses(t *testing.T) {
	compiled, err := gojsonschema.NewSchema(gojsonschema.NewBytesLoader(schema.Plan))
	if err != nil {
		t.Fatal(err)
	}
	const head = "version: calrun/v1\nname: x\nsteps:\n  a:\n"
	tests := []struct{ reason, body string }{
		{"misspelt field", "    uses: diff\n    with: {measurd: ./m}\n"},
		{"unknown kind", "    uses: difff\n"},
		{"wrong type", "    uses: diff\n    with: {seed: many}\n"},
		{"not in the list", "    uses: diff\n    with: {scope: some}\n"},
		{"out of bounds", "    uses: diff\n    with: {draws: 1}\n"},
		{"assert on a step", "    uses: diff\n    assert: {x: y}\n"},
		{"with on a gate", "    uses: gate\n    of: b\n    assert: {x: y}\n    with: {}\n"},
		{"gate without of", "    uses: gate\n    assert: {x: y}\n"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "p.yaml")
			if err := os.WriteFile(file, []byte(head+tt.body), 0o644); err != nil {
				t.Fatal(err)
			}
			if len(validate(t, compiled, file)) == 0 {
				t.Error("the schema takes it")
			}
		})
	}
}

func validate(t *testing.T, s *gojsonschema.Schema, file string) []gojsonschema.ResultError {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := yaml.Unmarshal(src, &tree); err != nil {
		t.Fatal(err)
	}
	res, err := s.Validate(gojsonschema.NewGoLoader(tree))
	if err != nil {
		t.Fatal(err)
	}
	return res.Errors()
}
