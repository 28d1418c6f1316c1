package plan

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"calrun/pipeline/expr"
)

const referencePlan = "testdata/good/llama3-70b-4xa100.yaml"

func mustLoad(t testing.TB, src string, inputs map[string]string) *Plan {
	t.Helper()
	p, problems := LoadBytes("testdata/good/inline.yaml", []byte(src), LoadOptions{Kinds: fakeKinds(), Inputs: inputs})
	if p == nil {
		t.Fatal(problems)
	}
	return p
}

func TestReferencePlan(t *testing.T) {
	p, problems := Load(referencePlan, LoadOptions{Kinds: fakeKinds()})
	if p == nil {
		t.Fatal(problems)
	}
	for _, w := range problems {
		if !strings.Contains(w.Message, "has no value yet") {
			t.Errorf("unexpected: %s", w)
		}
	}
	if err := p.Ready(); err == nil || !strings.Contains(err.Error(), "--input trace=") {
		t.Errorf("ready without its inputs: %v", err)
	}
	var order []string
	for _, d := range p.Order() {
		order = append(order, d.Name)
	}
	if want := []string{"hardware", "profile", "ready", "sim", "error", "cause", "verdict"}; !reflect.DeepEqual(order, want) {
		t.Errorf("order %v", order)
	}
	after := map[string][]string{
		"ready": {"profile"}, "sim": {"hardware", "profile", "ready"}, "verdict": {"error"},
		"tune": {"hardware", "profile", "sim"}, "hardware": nil,
	}
	for name, want := range after {
		if got := p.After(name); !reflect.DeepEqual(got, want) {
			t.Errorf("%s comes after %v, want %v", name, got, want)
		}
	}
	if got := p.Descendants("sim"); !reflect.DeepEqual(got, []string{"sim", "error", "cause", "verdict"}) {
		t.Errorf("descendants of sim: %v", got)
	}
	if p.Limits != (Limits{Rounds: 6, Wall: 12 * time.Hour}) {
		t.Errorf("limits %+v", p.Limits)
	}
	hw := p.Decl("hardware")
	if hw.Timeout != 6*time.Hour || !reflect.DeepEqual(hw.Locks, []string{"a100-node-1"}) || hw.Line != 23 {
		t.Errorf("hardware %+v", hw)
	}
	if tune := p.Decl("tune"); !tune.Remedy || len(tune.Sets) != 2 || tune.Sets[0].Target() != "sim.params" {
		t.Errorf("tune %+v", tune)
	}
	if r := p.Decl("reprofile"); !reflect.DeepEqual(r.Forget, []string{"tune"}) {
		t.Errorf("reprofile forgets %v", r.Forget)
	}
}

// Looks are those of the gate's own routes that reach what it judges; the
// largest number of a step's gates is filled in.
func TestLooksAndWorstCase(t *testing.T) {
	p, _ := Load(referencePlan, LoadOptions{Kinds: fakeKinds()})
	if got := p.Decl("verdict").Gate.Looks; got != 1+1+3+1 {
		t.Errorf("verdict looks %d times, want 6", got)
	}
	if got := p.Decl("ready").Gate.Looks; got != 2 {
		t.Errorf("ready looks %d times, want 2", got)
	}
	if got := p.WorstRounds(); got != 6 {
		t.Errorf("%d rounds: limits.rounds is 6 and 1 + Σ max is 7", got)
	}
	for name, want := range map[string]int{
		"hardware":  2, // once, and once more for the route that raises seeds
		"profile":   6, // reprofile by two routes, tune by params, hardware's workload
		"error":     6, // held down by limits.rounds
		"reprofile": 2, // its two routes
		"tune":      3,
	} {
		if got := p.WorstRuns(name); got != want {
			t.Errorf("%s runs %d times at worst, want %d", name, got, want)
		}
	}
}

const resolvable = `version: calrun/v1
name: r
inputs:
  url: {type: string, default: "http://h:1"}
  n: {type: int, default: 3}
  trace: {type: file, default: llama3-70b-4xa100.yaml}
shared:
  engine: {url: "${{ inputs.url }}/v1"}
steps:
  hw:
    uses: hardware-run
    with:
      verbose: false
      labels: {a: "${{ inputs.n }}"}
      workload:
        seed: "${{ inputs.n + 1 }}"
        sweep: {rps: [1, 2.50], lengths: "${{ inputs.trace }}"}
        replay: {trace: llama3-70b-4xa100.yaml}
  sim:
    uses: simulate
    with: {workload: "${{ steps.hw.workload }}", profiles: ., params: "${{ steps.hw.note }}"}
  error:
    uses: diff
    with: {measured: "${{ steps.hw.measurement }}", simulated: "${{ steps.sim.simulation }}"}
  note:
    uses: exec
    with: {command: [echo, "n=${{ inputs.n }}", "${{ inputs.trace }}"], input: {x: "${{ steps.error.ttft.p50.mape }}", y: "${{ steps.hw.note }}"}}
  gate:
    uses: gate
    of: error
    assert: {ok: ttft.p50.mape < 0.05}
    routes:
      - {when: failed.ok, set: {hw.workload.seed: "${{ inputs.n }}", hw.workload.sweep.rps: [4]}, max: 2}
`

func TestResolve(t *testing.T) {
	p := mustLoad(t, strings.Replace(resolvable, `, params: "${{ steps.hw.note }}"`, "", 1), nil)
	abs, err := filepath.Abs("testdata/good")
	if err != nil {
		t.Fatal(err)
	}
	env := expr.Env{Inputs: p.InputValues(), Steps: map[string]any{
		"hw":    map[string]any{"workload": map[string]any{"artefact": "workload", "digest": "sha256:w"}, "measurement": map[string]any{"artefact": "measurement", "digest": "sha256:m"}},
		"sim":   map[string]any{"simulation": map[string]any{"artefact": "simulation", "digest": "sha256:s"}},
		"error": map[string]any{"ttft": map[string]any{"p50": map[string]any{"mape": 0.25}}},
	}}
	tests := []struct {
		reason, step string
		over         map[string]json.RawMessage
		want         string
	}{
		{
			"inputs, expressions, shared fields and paths", "hw", nil,
			`{"engine":{"url":"http://h:1/v1"},"labels":{"a":3},"verbose":false,"workload":{"replay":{"trace":{"path":"ABS/llama3-70b-4xa100.yaml"}},"seed":4,"sweep":{"lengths":{"path":"ABS/llama3-70b-4xa100.yaml"},"rps":[1,2.50]}}}`,
		},
		{
			"overrides lie on top, deep ones too", "hw",
			map[string]json.RawMessage{"workload.sweep.seeds": json.RawMessage(`10`), "deployment.gpus": json.RawMessage(`2`)},
			`{"deployment":{"gpus":2},"engine":{"url":"http://h:1/v1"},"labels":{"a":3},"verbose":false,"workload":{"replay":{"trace":{"path":"ABS/llama3-70b-4xa100.yaml"}},"seed":4,"sweep":{"lengths":{"path":"ABS/llama3-70b-4xa100.yaml"},"rps":[1,2.50],"seeds":10}}}`,
		},
		{"an artefact passes through", "sim", nil, `{"profiles":{"path":"ABS"},"workload":{"artefact":"workload","digest":"sha256:w"}}`},
		{"looks are filled in", "error", nil, `{"looks":3,"measured":{"artefact":"measurement","digest":"sha256:m"},"simulated":{"artefact":"simulation","digest":"sha256:s"}}`},
		{"text, paths in text, absent optional values", "note", nil, `{"command":["echo","n=3","ABS/llama3-70b-4xa100.yaml"],"input":{"x":0.25}}`},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			got, err := p.Resolve(p.Decl(tt.step), env, tt.over)
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.ReplaceAll(tt.want, "ABS", abs); string(got) != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
	if _, err := p.Resolve(p.Decl("sim"), expr.Env{Inputs: env.Inputs}, nil); err == nil || !strings.Contains(err.Error(), "step hw has no result") {
		t.Errorf("resolved without hw: %v", err)
	}
	set := p.Decl("gate").Gate.Routes[0].Set
	for i, want := range []string{"3", "[4]"} {
		if v, ok, err := set[i].Value(env); err != nil || !ok || string(v) != want {
			t.Errorf("%s is %s, %v, %v; want %s", set[i].Target(), v, ok, err, want)
		}
	}
}

// A reference to text cannot fill a struct.
func TestResolveIsTypedAtLoad(t *testing.T) {
	_, problems := LoadBytes("x.yaml", []byte(resolvable), LoadOptions{Kinds: fakeKinds()})
	if err := problems.Err(); err == nil || !strings.Contains(err.Error(), "steps.hw.note is text, params wants an object") {
		t.Errorf("%v", err)
	}
}

func TestGivenInputs(t *testing.T) {
	const src = `version: calrun/v1
name: x
inputs:
  n: {type: int}
  f: {type: float, default: 1}
  b: {type: bool, default: false}
  d: {type: dir, default: .}
steps:
  a:
    uses: exec
    with: {command: ["${{ string(inputs.n) }}", "${{ inputs.d }}"], input: {f: "${{ inputs.f }}", b: "${{ inputs.b }}"}}
`
	tests := []struct {
		reason string
		in     map[string]string
		want   string // an error; "" loads without one
	}{
		{"one is missing", nil, ""},
		{"all given", map[string]string{"n": "3", "f": "0.5", "b": "true", "d": "."}, ""},
		{"no number", map[string]string{"n": "three"}, `--input n: "three" is not a whole number`},
		{"no bool", map[string]string{"b": "yes"}, `--input b: "yes" is not true or false`},
		{"not there", map[string]string{"d": "nowhere"}, `--input d: "nowhere" does not exist`},
		{"a file for a folder", map[string]string{"d": "load_test.go"}, "is a file, not a folder"},
		{"not declared", map[string]string{"nn": "3"}, `the plan has no input "nn", did you mean "n"?`},
		{"not finite", map[string]string{"f": "NaN"}, "is not a number"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			p, problems := LoadBytes("x.yaml", []byte(src), LoadOptions{Kinds: fakeKinds(), Inputs: tt.in})
			err := problems.Err()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			if p == nil {
				return
			}
			if ready := p.Ready() == nil; ready != (tt.in != nil) {
				t.Errorf("ready %v with inputs %v: %v", ready, tt.in, p.Ready())
			}
		})
	}
}

func TestProblemText(t *testing.T) {
	_, problems := LoadBytes("plan.yaml", []byte("version: calrun/v1\nname: x\nsteps:\n  a:\n    uses: diff\n    with: {simulated: ., scopes: all}\n"), LoadOptions{Kinds: fakeKinds()})
	want := `plan.yaml:6:5: steps.a.with: measured is missing
    6 |     with: {simulated: ., scopes: all}
      |     ^^^^ it is a measurement: what the engine did
plan.yaml:6:26: steps.a.with.scopes: unknown field "scopes"
    6 |     with: {simulated: ., scopes: all}
      |                          ^^^^^^ did you mean "scope"?
2 problems`
	if got := problems.Err().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, problems := Load("nowhere.yaml", LoadOptions{}); problems[0].Error() != "nowhere.yaml: there is no such file, correct the path" {
		t.Errorf("%s", problems[0].Error())
	}
}

// FuzzLoad: whatever the bytes, Load returns; it yields a plan or a reason;
// problems are sorted and lie inside the file.
func FuzzLoad(f *testing.F) {
	for _, dir := range []string{"bad", "good"} {
		files, err := filepath.Glob("testdata/" + dir + "/*.yaml")
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			f.Add(readFile(f, file))
		}
	}
	kinds := fakeKinds()
	f.Fuzz(func(t *testing.T, src []byte) {
		p, problems := LoadBytes("fuzz.yaml", src, LoadOptions{Kinds: kinds})
		if (p == nil) != (problems.Err() != nil) {
			t.Fatalf("plan %v, error %v", p != nil, problems.Err())
		}
		lines := strings.Count(string(src), "\n") + 1
		last := 0
		for _, q := range problems {
			if q.Line < last || q.Line > lines || q.Message == "" {
				t.Fatalf("problem %+v after line %d of %d", q, last, lines)
			}
			last = q.Line
			_ = q.String()
		}
		if p == nil {
			return
		}
		if len(p.Order()) != len(p.Steps) {
			t.Fatalf("%d of %d steps are ordered", len(p.Order()), len(p.Steps))
		}
	})
}

// BenchmarkLoad1000 validates a plan of 1,000 steps.
func BenchmarkLoad1000(b *testing.B) {
	var src strings.Builder
	src.WriteString("version: calrun/v1\nname: big\nsteps:\n  s0:\n    uses: hardware-run\n    with: {workload: {sweep: {rps: [1]}}}\n")
	for i := 1; i < 1000; i++ {
		fmt.Fprintf(&src, "  s%d:\n    uses: simulate\n    with: {workload: \"${{ steps.s0.workload }}\", profiles: ., params: {batch_size_cap: %d}}\n", i, i)
	}
	kinds := fakeKinds()
	b.ResetTimer()
	for b.Loop() {
		if p, problems := LoadBytes("big.yaml", []byte(src.String()), LoadOptions{Kinds: kinds}); p == nil {
			b.Fatal(problems)
		}
	}
}
