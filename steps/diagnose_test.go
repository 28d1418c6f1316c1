package steps

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"calrun/internal/profile"
	"calrun/internal/shared"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// diagnose runs the kind on what an engine did and a simulator was told.
func diagnose(t *testing.T, h hidden, measured, asked []trace.Point, profiles pipeline.Artefact, p Params) *DiagnoseResult {
	t.Helper()
	step := &Diagnose{
		Measured: folder(t, "measurement", measured, h.facts), Workload: folder(t, "workload", asked, h.facts),
		Profiles: profiles, Params: p, Simulator: embedded, Seed: 1,
	}
	began := time.Now()
	out, err := step.Run(context.Background(), scratch(t))
	if err != nil {
		t.Fatal(err)
	}
	r := out.(*DiagnoseResult)
	t.Logf("%s in %v: %s", r.Cause, time.Since(began).Round(time.Millisecond), r.Confidence)
	for _, e := range r.Evidence {
		t.Logf("  %-9s %-45s %.3g → %.3g (%.1f %%) %v %v", e.Cause, e.Hypothesis, e.Before, e.After, 100*e.Explains, e.Enough, e.Values)
	}
	return r
}

// truths are the booleans of a result that are true.
func (r *DiagnoseResult) truths(t *testing.T) []string {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name, v := range all {
		if v == true {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestDiagnoseNamesTheCause(t *testing.T) {
	slower := func(k float64) profile.Model {
		return profile.StepTime{Base: profile.Cost(8e-3 * k), PerPrefillToken: profile.Cost(15e-6 * k), PerSequence: 100e-6}
	}
	for _, c := range []struct {
		why   string
		turn  func(*hidden)
		base  string // of the profile
		had   Params
		cause string
		truth []string
	}{
		{"constants missing, as in the quickstart", func(*hidden) {}, "5.5ms", Params{}, "overhead", []string{"overhead"}},
		{
			"a front end alone", func(h *hidden) { h.front = 10 * time.Millisecond }, "8ms",
			Params{FrontEnd: new(2e-3)},
			"overhead",
			[]string{"overhead"},
		},
		{"kernels 15 % slower", func(h *hidden) { h.model = slower(1.15) }, "8ms", Params{FrontEnd: new(2e-3)}, "kernel", []string{"kernel"}},
		{"nothing wrong", func(*hidden) {}, "8ms", Params{FrontEnd: new(2e-3)}, "none", nil},
		{
			"a cache that binds, simulated as twice as large", func(h *hidden) { h.facts.KVBlocks = new(64) }, "8ms",
			Params{FrontEnd: new(2e-3), KVBlocks: new(4000)},
			"kv",
			[]string{"kv"},
		},
		{
			"a batch cap that binds, simulated without", func(h *hidden) { h.facts.MaxNumSeqs = new(2) }, "8ms",
			Params{FrontEnd: new(2e-3), BatchSizeCap: new(256)},
			"config",
			[]string{"config"},
		},
		{
			"a difference that does not bind is not the cause", func(h *hidden) { h.facts.MaxNumSeqs = new(200) }, "5.5ms",
			Params{BatchSizeCap: new(256)},
			"overhead",
			[]string{"overhead"},
		},
	} {
		t.Run(c.why, func(t *testing.T) {
			h := quick(3)
			c.turn(&h)
			points := h.measure(t, 25, 35, 45)
			r := diagnose(t, h, points, points, stepProfile(t, c.base), c.had)
			if r.Cause != c.cause || !slices.Equal(r.truths(t), c.truth) {
				t.Errorf("cause %s with %v, want %s with %v", r.Cause, r.truths(t), c.cause, c.truth)
			}
		})
	}
}

func TestDiagnoseInputsFirst(t *testing.T) {
	h := quick(5)
	points := h.measure(t, 25, 35)
	t.Run("the simulator was given half of each prompt and output", func(t *testing.T) {
		asked := clonePoints(points)
		for i := range asked {
			for n := range asked[i].Runs[0].Requests {
				q := &asked[i].Runs[0].Requests[n]
				q.Prompt, q.Output = max(1, q.Prompt/2), max(1, q.Output/2)
			}
		}
		r := diagnose(t, h, points, asked, stepProfile(t, "8ms"), Params{FrontEnd: new(2e-3)})
		if r.Cause != "input" || !r.Input || r.Kernel {
			t.Errorf("cause %s; token counts differ", r.Cause)
		}
	})
	t.Run("the prefix cache served most of the prompts", func(t *testing.T) {
		seen := clonePoints(points)
		short := clonePoints(points)
		for i := range short {
			for n := range short[i].Runs[0].Requests {
				short[i].Runs[0].Requests[n].Prompt = max(1, short[i].Runs[0].Requests[n].Prompt/4)
			}
			again := h.point(t, trace.Point{Name: short[i].Name, Group: short[i].Group, Rate: short[i].Rate}, short[i].Runs[0].Requests)
			for n := range again.Runs[0].Rows {
				row := &again.Runs[0].Rows[n]
				full := points[i].Runs[0].Requests[n].Prompt
				row.Cached = full - row.Prompt
				row.Prompt, row.Prompted = full, full
			}
			seen[i].Runs[0].Rows = again.Runs[0].Rows
		}
		r := diagnose(t, h, seen, points, stepProfile(t, "8ms"), Params{FrontEnd: new(2e-3)})
		if r.Cause != "input" {
			t.Errorf("cause %s; prefix hits explain the difference", r.Cause)
		}
	})
	t.Run("the generator was late", func(t *testing.T) {
		late := clonePoints(points)
		for i := range late {
			if late[i].Alone() {
				continue
			}
			for n := range late[i].Runs[0].Rows {
				row := &late[i].Runs[0].Rows[n]
				row.Sent += 5 * time.Millisecond
				row.First += 5 * time.Millisecond
				row.Last += 5 * time.Millisecond
			}
		}
		r := diagnose(t, h, late, points, stepProfile(t, "8ms"), Params{FrontEnd: new(2e-3)})
		if r.Cause != "input" {
			t.Errorf("cause %s; the requests were sent late", r.Cause)
		}
	})
}

func TestDiagnoseWithATableProfile(t *testing.T) {
	dir := shared.Path(t, "measured/RTX4090_profile")
	prof, err := profile.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why   string
		scale profile.Scale
		long  int // times as long as the quickstart's prompts
	}{
		{"MLP kernels 15 % slower than profiled", profile.Scale{MLP: 1.15}, 1},
		{"attention kernels 30 % slower: it takes long prompts to see them", profile.Scale{Attn: 1.3}, 12},
	} {
		t.Run(c.why, func(t *testing.T) {
			h := quick(7)
			h.jitter = 0.02
			if h.model, err = prof.Model(c.scale); err != nil {
				t.Fatal(err)
			}
			h.long = c.long
			points := h.measure(t, 2)
			r := diagnose(t, h, points, points, pipeline.Artefact{Path: dir}, Params{FrontEnd: new(2e-3)})
			if r.Cause != "kernel" {
				t.Errorf("cause %s, want kernel", r.Cause)
			}
		})
	}
}

func TestDiagnoseRefusesForeignRuns(t *testing.T) {
	h := quick(1)
	points := h.measure(t, 25)
	step := &Diagnose{
		Measured: folder(t, "measurement", points, h.facts), Workload: folder(t, "workload", points[:3], h.facts),
		Profiles: stepProfile(t, "8ms"), Simulator: embedded,
	}
	_, err := step.Run(context.Background(), scratch(t))
	if err == nil || !strings.Contains(err.Error(), "rps-25") || !strings.Contains(err.Error(), "different runs") {
		t.Errorf("error %v; the workload lacks a point", err)
	}
}

func TestDiagnoseStaleProfileIsTheLastResort(t *testing.T) {
	r := &DiagnoseResult{Loss: 0.1, Evidence: []Evidence{{Cause: "overhead", Before: 0.1, After: 0.09, Explains: 0.1}}}
	r.conclude(&diagnosis{stale: "profile-check calls the profile stale"})
	if r.Cause != "profile" || !r.Profile || !r.Kernel {
		t.Errorf("%+v", r)
	}
	r = &DiagnoseResult{Loss: 0.1, Evidence: []Evidence{{Cause: "overhead", Before: 0.1, After: 0.09, Explains: 0.1}}}
	r.conclude(&diagnosis{})
	if r.Cause != "unknown" || r.Kernel {
		t.Errorf("%+v", r)
	}
}

func TestDiagnoseSettingsThatNoSimulationUndoes(t *testing.T) {
	kernel := Evidence{Cause: "kernel", Before: 0.1, After: 1e-5, Explains: 0.99}
	cache := Evidence{Cause: "kv", Before: 0.1, After: 1e-5, Explains: 0.99}
	for _, c := range []struct {
		why      string
		evidence []Evidence
		want     string
	}{
		{"a factor mimics another data type", []Evidence{kernel}, "config"},
		{"what a simulation shows to be the cause stays the cause", []Evidence{cache, kernel}, "kv"},
	} {
		r := &DiagnoseResult{Loss: 0.1, Evidence: c.evidence}
		d := &diagnosis{}
		var p profile.Parity
		p.Add(profile.Field{Name: "dtype", Asked: "bfloat16", Engine: "float32"}, nil)
		p.Add(profile.Field{Name: "kv_blocks", Engine: "100", Simulator: "200"}, nil)
		d.read(findingsFile{Fresh: true, Covered: true, Config: p})
		r.conclude(d)
		if r.Cause != c.want || len(d.direct) != 1 {
			t.Errorf("%s: cause %s with %v, want %s", c.why, r.Cause, d.direct, c.want)
		}
	}
}

func TestDiagnoseFitsOnTheFirstRunsOfMany(t *testing.T) {
	h := quick(2)
	points := h.measure(t, 25, 35)
	many := clonePoints(points)
	for i := range many {
		for seed := 2; !many[i].Alone() && seed <= 6; seed++ {
			r := many[i].Runs[0]
			r.Seed = seed
			many[i].Runs = append(many[i].Runs, r)
		}
	}
	c := &diagnosis{measured: points, asked: points}
	if c.few() != nil {
		t.Errorf("%d requests are few enough to fit on all", 630)
	}
	c = &diagnosis{measured: many, asked: many}
	p := c.few()
	if p == nil {
		t.Fatal("3,630 requests are fitted on whole")
	}
	for _, m := range p.Measured {
		if len(m.Runs) != 1 || m.Runs[0].Seed != 1 {
			t.Errorf("%s: %d runs, want the first", m.Name, len(m.Runs))
		}
	}
	r := diagnose(t, h, many, many, stepProfile(t, "5.5ms"), Params{})
	if r.Cause != "overhead" {
		t.Errorf("cause %s", r.Cause)
	}
}
