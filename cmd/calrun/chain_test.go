package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"calrun/cmd/calrun/cli"
	"calrun/schema"
	"calrun/steps"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/xeipuuv/gojsonschema"
)

const chainPlan = `version: calrun/v1
name: chained
inputs:
  load: {type: float, default: 0.5}
steps:
  a:
    uses: exec
    with: {command: [sh, say.sh], input: "${{ inputs.load }}", result: {load: float, ok: bool, by: "{float}"}}
  low:
    uses: gate
    of: a
    assert:
      below: load < 0.8
      sane: load > 0 && ok
    warn:
      comfortable: load < 0.4
  bad:
    uses: exec
    needs: [low]
    with: {command: [sh, -c, "echo a:b,c%d >&2; exit 7"], result: {ok: bool}}
`

// chain runs the plan in a folder and returns what it printed.
func chain(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	for name, text := range map[string]string{
		"plan.yaml": chainPlan,
		"say.sh":    `sed 's/.*"input":\([^,}]*\).*/{"load":\1,"ok":true,"by":{"rps-1":\1}}/'`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("CALRUN_LOCKS", filepath.Join(dir, "locks"))
	var out, err bytes.Buffer
	code = cli.Main(cli.Process{Args: args, Out: &out, Err: &err, Getenv: os.Getenv}, steps.Builtin()...)
	return code, out.String(), err.String()
}

// strict is a schema that refuses what it does not name: a field that the
// schema lacks must be noticed here, although readers pass over it.
func strict(t *testing.T, raw []byte) *gojsonschema.Schema {
	t.Helper()
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	var close func(any)
	close = func(v any) {
		switch x := v.(type) {
		case map[string]any:
			if x["properties"] != nil && x["additionalProperties"] == nil {
				x["additionalProperties"] = false
			}
			for _, e := range x {
				close(e)
			}
		case []any:
			for _, e := range x {
				close(e)
			}
		}
	}
	close(tree)
	s, err := gojsonschema.NewSchema(gojsonschema.NewGoLoader(tree))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func valid(t *testing.T, s *gojsonschema.Schema, what, doc string) {
	t.Helper()
	res, err := s.Validate(gojsonschema.NewStringLoader(doc))
	if err != nil {
		t.Fatalf("%s: %v in\n%s", what, err, doc)
	}
	for _, e := range res.Errors() {
		t.Errorf("%s: %s", what, e)
	}
}

func TestRunDocumentAndEventsFollowTheirSchemas(t *testing.T) {
	dir := t.TempDir()
	plan, events := filepath.Join(dir, "plan.yaml"), filepath.Join(dir, "events.jsonl")
	run, event := strict(t, schema.Run), strict(t, schema.Event)
	for _, c := range []struct {
		load string
		exit int
	}{{"0.5", 3}, {"0.9", 1}} {
		code, out, said := chain(t, dir, "run", plan, "--json", "--events", events, "--input", "load="+c.load)
		if code != c.exit {
			t.Fatalf("load %s: exit %d, want %d\n%s", c.load, code, c.exit, said)
		}
		valid(t, run, "run --json", out)
	}
	_, out, _ := chain(t, dir, "show", "--json", "--dir", filepath.Join(dir, ".calrun"))
	valid(t, run, "show --json", out)
	_, out, _ = chain(t, dir, "compare", "latest", "latest", "--json", "--dir", filepath.Join(dir, ".calrun"))
	valid(t, strict(t, schema.Compare), "compare --json", out)

	live, err := os.ReadFile(events)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(live)) {
		valid(t, event, "an event", line)
	}
	// What the journal tells later is what was told live, from any event on.
	_, all, _ := chain(t, dir, "events", "latest", "--dir", filepath.Join(dir, ".calrun"))
	if !strings.HasSuffix(string(live), all) || strings.Count(all, "\n") < 8 {
		t.Errorf("events told live:\n%s\nlater:\n%s", live, all)
	}
	lines := strings.SplitAfter(all, "\n")
	for from := 1; from <= len(lines); from++ {
		_, rest, _ := chain(t, dir, "events", "latest", "--follow", "--from", fmt.Sprint(from), "--dir", filepath.Join(dir, ".calrun"))
		if want := strings.Join(lines[from-1:], ""); rest != want {
			t.Fatalf("from %d:\n%swant\n%s", from, rest, want)
		}
	}
	code, out, said := chain(t, dir, "run", plan, "--events", "-", "--input", "load=0.9")
	if code != 1 || strings.Count(out, "\n") != len(lines)-1 || !strings.Contains(said, "fail") {
		t.Errorf("--events -: exit %d, stdout\n%s\nstderr\n%s", code, out, said)
	}
	if code, _, _ := chain(t, dir, "run", plan, "--events", "-", "--json"); code != 2 {
		t.Errorf("--events - beside --json: exit %d, want 2", code)
	}
}

func TestReports(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("GITHUB_STEP_SUMMARY", filepath.Join(dir, "summary.md"))
	t.Setenv("GITHUB_WORKSPACE", dir)
	plan, unit, prom := filepath.Join(dir, "plan.yaml"), filepath.Join(dir, "junit.xml"), filepath.Join(dir, "calrun.prom")
	code, _, said := chain(t, dir, "run", plan, "--input", "load=0.9", "--report", "junit="+unit, "--report", "prometheus="+prom, "--report", "github")
	if code != 1 {
		t.Fatalf("exit %d\n%s", code, said)
	}
	line := 1 + strings.Count(chainPlan[:strings.Index(chainPlan, "      below:")], "\n")
	want := fmt.Sprintf("::error file=plan.yaml,line=%d,title=gate low::low.below: fail: load < 0.8 (load = 0.9)\n", line)
	if !strings.Contains(said, want) {
		t.Errorf("no %s in\n%s", want, said)
	}
	if !strings.Contains(said, "::notice file=plan.yaml") || strings.Contains(said, "low.sane: ") {
		t.Errorf("annotations:\n%s", said)
	}
	summary, err := os.ReadFile(filepath.Join(dir, "summary.md"))
	if err != nil || !strings.Contains(string(summary), "| low | below | ❌ fail | `load < 0.8` (load = 0.9) |") {
		t.Errorf("%v: summary\n%s", err, summary)
	}

	var suites struct {
		Suites []struct {
			Name  string `xml:"name,attr"`
			Cases []struct {
				Name    string    `xml:"name,attr"`
				Line    int       `xml:"line,attr"`
				Failure *struct{} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	data, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(data, &suites); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(xmlAttr(t, data, "tests"), xmlAttr(t, data, "failures"), xmlAttr(t, data, "errors"), xmlAttr(t, data, "skipped")); got != "5 1 0 2" {
		t.Errorf("tests, failures, errors, skipped are %s, want 5 1 0 2:\n%s", got, data)
	}
	if len(suites.Suites) != 2 || suites.Suites[1].Cases[0].Failure == nil || suites.Suites[1].Cases[0].Line != line {
		t.Errorf("JUnit:\n%s", data)
	}

	text, err := os.ReadFile(prom)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	for _, want := range []string{
		`calrun_run_verdict{plan="chained",verdict="fail"} 1`, `calrun_assertion_value{plan="chained",gate="low",assertion="below",name="load"} 0.9`,
		`calrun_result{plan="chained",step="a",field="by.rps-1"} 0.9`, `calrun_run_exit_code{plan="chained"} 1`,
	} {
		if !strings.Contains(string(text), want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if len(families) < 8 {
		t.Errorf("%d families", len(families))
	}
}

// xmlAttr is a number in the root element.
func xmlAttr(t *testing.T, data []byte, name string) int {
	t.Helper()
	var root struct {
		Attrs []xml.Attr `xml:",any,attr"`
	}
	if err := xml.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	n := -1
	for _, a := range root.Attrs {
		if a.Name.Local == name {
			fmt.Sscan(a.Value, &n)
		}
	}
	return n
}

// A step that fails is annotated too, its message escaped; so is a plan that
// does not load.
func TestAnnotationsOfErrors(t *testing.T) {
	dir := t.TempDir()
	plan := filepath.Join(dir, "plan.yaml")
	code, _, said := chain(t, dir, "run", plan, "--report", "github")
	if code != 3 || !strings.Contains(said, "title=step bad::") || !strings.Contains(said, "::error file="+plan) {
		t.Errorf("exit %d\n%s", code, said)
	}
	broken := filepath.Join(dir, "broken.yaml")
	if err := os.WriteFile(broken, []byte(strings.Replace(chainPlan, "of: a", "of: b", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	code, _, said = chain(t, dir, "run", broken, "--report", "github")
	if code != 2 || !strings.Contains(said, ",line=11,col=9,title=steps.low.of::there is no step \"b\"") {
		t.Errorf("exit %d\n%s", code, said)
	}
	for _, bad := range []string{"junit", "github=x", "junits=x"} {
		if code, _, said := chain(t, dir, "run", plan, "--report", bad); code != 2 {
			t.Errorf("--report %s: exit %d\n%s", bad, code, said)
		}
	}
}
