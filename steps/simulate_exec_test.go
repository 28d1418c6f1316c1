package steps

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"calrun/internal/engine"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// millisecond is a simulator: a millisecond for each prompt token, ten for each
// token after the first. It adds a line to CALLS at each call. A prompt of 666
// tokens ends it, one of 999 kills it, one of 777 hangs it.
const millisecond = `
for last; do before=${now:-}; now=$last; done
in=$before out=$now
echo called >>"$CALLS"
grep -q '"model": "emulated"' "$in/simulate.json" || exit 9
cd "$in" && for trace in points/*/*/trace.csv; do
	run=${trace%/trace.csv}
	grep -q ',666,' "$trace" && { echo "no room for 666" >&2; exit 3; }
	grep -q ',999,' "$trace" && kill -9 $$
	grep -q ',777,' "$trace" && { sleep 600 & wait; }
	mkdir -p "$out/$run"
	awk -F, 'NR > 1 { first = $1 + $2 / 1000; printf "{\"id\":%d,\"first_s\":%.9f,\"last_s\":%.9f}\n", NR - 2, first, first + ($3 - 1) / 100 }' "$trace" >"$out/$run/requests.jsonl"
done
`

// foreignInputs is a simulation by a shell script, and how often that ran.
func foreignInputs(t *testing.T, script string, points []trace.Point) (s *Simulate, calls func() int) {
	t.Helper()
	s = simulateInputs(t, &engine.Facts{Model: "emulated"}, points)
	s.root = t.TempDir()
	if err := os.WriteFile(filepath.Join(s.root, "sim.sh"), []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "calls")
	s.Simulator, s.Profiles = ownProgram, pipeline.Artefact{}
	s.Exec = ForeignSimulator{Command: []string{"sh", "sim.sh"}, Env: map[string]string{"CALLS": log}, AtOnce: 2}
	return s, func() int {
		data, err := os.ReadFile(log)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.Count(string(data), "\n")
	}
}

func with(points []trace.Point, name string, prompt int) []trace.Point {
	reqs := evenly(3, time.Second)
	reqs[1].Prompt = prompt
	return append(points, trace.Point{Name: name, Group: trace.Sweep, Rate: 1, Runs: []trace.Run{{Seed: 1, Requests: reqs}}})
}

func TestSimulateExec(t *testing.T) {
	points := with(with(workloadPoints(), "rps-1", 666), "rps-2", 777)
	s, calls := foreignInputs(t, millisecond, points)
	s.Exec.Timeout = 2 * time.Second
	rt := pipeline.NewScratch(t.TempDir(), zerolog.Nop())
	out, err := s.Run(context.Background(), rt)
	if err != nil {
		t.Fatal(err)
	}
	res := out.(*SimulateResult)
	if !strings.HasPrefix(res.Simulator, "exec sh sim.sh (") || res.Outside != nil {
		t.Errorf("simulator %q, outside %v", res.Simulator, res.Outside)
	}
	for point, reason := range map[string]string{"rps-1": "no room for 666", "rps-2": "did not end within 2s"} {
		if res.States[point] != string(trace.Crashed) || !strings.Contains(res.Reasons[point], reason) {
			t.Errorf("%s is %s, because %s", point, res.States[point], res.Reasons[point])
		}
		delete(res.States, point)
	}
	for point, state := range res.States {
		if state == string(trace.Crashed) {
			t.Errorf("%s is %s: %s", point, state, res.Reasons[point])
		}
	}
	got, err := trace.ReadPoints(res.Simulation.Path)
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for i, p := range got {
		for j, r := range p.Runs {
			if r.Seed != points[i].Runs[j].Seed || !slices.Equal(r.Requests, points[i].Runs[j].Requests) {
				t.Errorf("%s/%d: the simulation holds other requests than the workload", p.Name, r.Seed)
			}
			for n, row := range r.Rows {
				rows++
				if row.Request != r.Requests[n] || row.TTFT() != time.Duration(row.Prompt)*time.Millisecond || row.E2E()-row.TTFT() != time.Duration(row.Output-1)*10*time.Millisecond {
					t.Fatalf("%s: request %d has TTFT %v and E2E %v", p.Name, row.ID, row.TTFT(), row.E2E())
				}
			}
		}
	}
	if rows != 503 { // 3 + 60 + 400 and two repeats of 20, without the crashed ones
		t.Errorf("%d rows", rows)
	}
	if n := calls(); n != 6 { // a replay's repeats are the same
		t.Errorf("the program ran %d times, want 6", n)
	}
	if _, err := s.Run(context.Background(), rt); err != nil || calls() != 6 {
		t.Errorf("a second attempt: %v, %d runs", err, calls())
	}
	s.Exec.Input = json.RawMessage(`{"other": 1}`)
	if _, err := s.Run(context.Background(), rt); err != nil || calls() != 12 {
		t.Errorf("with another input: %v, %d runs", err, calls())
	}
}

// What the machine does to a run is no result, and the others are kept.
func TestSimulateExecInterrupted(t *testing.T) {
	s, calls := foreignInputs(t, millisecond, with(with(nil, "rps-1", 5), "rps-2", 999))
	rt := pipeline.NewScratch(t.TempDir(), zerolog.Nop())
	for attempt, want := range []int{2, 3} {
		if _, err := s.Run(context.Background(), rt); err == nil || !strings.Contains(err.Error(), "killed") || !strings.Contains(err.Error(), "resume") {
			t.Fatalf("a killed simulator: %v", err)
		}
		if n := calls(); n != want {
			t.Errorf("attempt %d: the program ran %d times, want %d", attempt+1, n, want)
		}
	}
	s.Exec.Command[0] = "no-such-simulator"
	if _, err := s.Run(context.Background(), rt); err == nil || !strings.Contains(err.Error(), "no-such-simulator") {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestForeignRows(t *testing.T) {
	asked := []trace.Request{{ID: 0, Due: time.Second, Prompt: 7, Output: 3}, {ID: 1, Due: 2 * time.Second, Prompt: 9, Output: 1}}
	const second = `{"id": 1, "first_s": 3, "last_s": 3}`
	for _, c := range []struct{ name, rows, want string }{
		{"as it should be", `{"id": 0, "first_s": 1.5, "last_s": 2}` + "\n" + second, ""},
		{"all that may be repeated", `{"id": 0, "first_s": 1.5, "last_s": 2, "due_s": 1.0000004, "prompt_tokens": 7, "output_tokens": 3}` + "\n" + second, ""},
		{"a refused request", `{"id": 0, "error": "too long"}` + "\n" + second, ""},
		{"the first token at the arrival, to six places", `{"id": 0, "first_s": 0.9999999, "last_s": 2}` + "\n" + second, ""},
		{"one row less", second[:0] + `{"id": 0, "first_s": 1.5, "last_s": 2}`, "1 rows and the trace 2 requests"},
		{"one row more", `{"id": 0, "first_s": 1.5, "last_s": 2}` + "\n" + second + "\n" + second, "line 3: the trace has 2 requests"},
		{"another order", second, "id is 1 where request 0"},
		{"no id", `{"first_s": 1.5, "last_s": 2}`, "id is absent"},
		{"another prompt", `{"id": 0, "first_s": 1.5, "last_s": 2, "prompt_tokens": 8}`, "prompt_tokens 8; the trace asks for 7"},
		{"another output", `{"id": 0, "first_s": 1.5, "last_s": 2, "output_tokens": 4}`, "output_tokens 4; the trace asks for 3"},
		{"another arrival", `{"id": 0, "first_s": 1.5, "last_s": 2, "due_s": 0.9}`, "due_s 0.9; the trace has it arrive at 1"},
		{"no times", `{"id": 0}`, "first_s absent and last_s absent"},
		{"the end before the beginning", `{"id": 0, "first_s": 2, "last_s": 1.5}`, "never before the first"},
		{"an answer before the question", `{"id": 0, "first_s": 0.5, "last_s": 2}`, "nothing is answered before it is asked"},
		{"one token in two moments", `{"id": 0, "first_s": 1.5, "last_s": 2}` + "\n" + `{"id": 1, "first_s": 3, "last_s": 4}`, "asks for one token"},
		{"no number", `{"id": 0, "first_s": NaN, "last_s": 2}`, "numbers are finite"},
		{"beyond the clock", `{"id": 0, "first_s": 1, "last_s": 1e300}`, "count up from 0"},
		{"an unknown field", `{"id": 0, "first_s": 1.5, "last_s": 2, "ttft": 1}`, `"ttft"`},
		{"two rows on a line", `{"id": 0, "first_s": 1.5, "last_s": 2} ` + second, "more than one JSON object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), trace.RowsFile)
			if err := os.WriteFile(path, []byte(c.rows+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			rows, err := readForeign(path, asked)
			switch {
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			case c.want == "" && (err != nil || len(rows) != 2 || rows[0].OK() && (rows[0].First < time.Second || rows[0].Tokens != 3)):
				t.Errorf("got %v, %+v", err, rows)
			}
		})
	}
	if _, err := readForeign(filepath.Join(t.TempDir(), "none"), asked); err == nil || !strings.Contains(err.Error(), "there is no") {
		t.Errorf("no file: %v", err)
	}
}

// Identity follows the content of what runs.
func TestSimulateExecIdentity(t *testing.T) {
	s, _ := foreignInputs(t, millisecond, nil)
	s.Exec.Files = []string{"lib"}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(s.root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var seen []map[string]string
	for _, change := range []func(){
		func() { write("lib", "1") },
		func() { write("lib", "2") },
		func() { write("sim.sh", "exit 1") },
	} {
		change()
		id, err := s.Identity(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(seen, func(o map[string]string) bool { return maps.Equal(o, id) }) {
			t.Errorf("another program of the same identity %v", id)
		}
		seen = append(seen, id)
	}
	for field, s := range map[string]*Simulate{
		"exec.command": {Simulator: ownProgram},
		"profiles":     {Simulator: embedded},
		"exec":         {Simulator: embedded, Exec: ForeignSimulator{Command: []string{"x"}}},
	} {
		if ps := s.Check(pipeline.Static{}); !slices.ContainsFunc(ps, func(p pipeline.FieldProblem) bool { return p.Field == field }) {
			t.Errorf("%s: %+v", field, ps)
		}
	}
}
