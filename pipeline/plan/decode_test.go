package plan

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"calrun/pipeline/field"
	"calrun/pipeline/kind"
)

func TestDecodeFillsAndDefaults(t *testing.T) {
	k, _ := fakeKinds().Lookup("hardware-run")
	s, err := k.Decode(json.RawMessage(`{
		"workload": {"seed": 7, "probes": {"lengths": [[512,128]]}, "sweep": {"rps": [0.5, 2], "lengths": {"artefact": "trace", "digest": "sha256:ab"}},
			"replay": {"trace": {"artefact": "trace", "digest": "sha256:cd", "path": "/x/trace.csv"}, "window": "90s"}},
		"engine": {"url": "http://x", "step": "8ms"}, "labels": {"a": 1}}`))
	if err != nil {
		t.Fatal(err)
	}
	h := s.(*fakeHardware)
	w := h.Workload
	if w.Seed != 7 || w.Over != "refuse" || w.Probes.Requests != 10 || w.Sweep.Seeds != 1 || w.Sweep.Arrivals != "poisson" {
		t.Errorf("workload %+v", w)
	}
	if !reflect.DeepEqual(w.Sweep.RPS, []float64{0.5, 2}) || w.Sweep.Lengths.Digest != "sha256:ab" || w.Probes.Lengths[0] != [2]int{512, 128} {
		t.Errorf("sweep %+v, probes %+v", w.Sweep, w.Probes)
	}
	if w.Replay.Window != 90*time.Second || w.Replay.Trace != (field.Artefact{Of: "trace", Digest: "sha256:cd", Path: "/x/trace.csv"}) {
		t.Errorf("replay %+v", w.Replay)
	}
	if h.Deployment.GPUs != 1 || h.Deployment.MaxNumSeqs != nil || h.Labels["a"] != 1 || h.Engine.Emulator.Seconds != 0.008 {
		t.Errorf("absent structs get their defaults, absent pointers stay nil: %+v", h.Deployment)
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct{ reason, kind, with, want string }{
		{"unknown field, with its path", "hardware-run", `{"workload":{"sweep":{"rps":[1],"seedz":2}}}`, `workload.sweep.seedz: unknown field "seedz", did you mean "seeds"?`},
		{"missing required field", "diff", `{"measured":{"artefact":"measurement","digest":"sha256:1"}}`, "simulated is missing"},
		{"all at once", "diff", `{}`, "measured is missing"},
		{"wrong sort of artefact", "diff", `{"measured":{"artefact":"simulation","digest":"d"},"simulated":{"artefact":"simulation","digest":"d"}}`, "measured: is a simulation, it needs a measurement"},
		{"out of bounds", "hardware-run", `{"workload":{"sweep":{"rps":[1],"requests":-1}}}`, "workload.sweep.requests: -1 is out of bounds, at least 1"},
		{"element out of bounds", "reprofile", `{"prompts":[1,0]}`, "prompts[1]: 0 is out of bounds, at least 1"},
		{"fraction", "hardware-run", `{"workload":{"seed":1.5}}`, "workload.seed: 1.5 is not a whole number"},
		{"text where a number belongs", "hardware-run", `{"workload":{"seed":"7"}}`, `workload.seed: "7" is not a whole number, write 7 without quotes`},
		{"not in the list", "diff", `{"measured":{"artefact":"measurement","digest":"d"},"simulated":{"artefact":"simulation","digest":"d"},"scope":"al"}`, `scope: "al" is not one of stable, all, did you mean "all"?`},
		{"inside a union", "tune", `{"measured":{"digest":"d"},"profiles":{"digest":"d"},"fit_on":["a"],"knobs":{"k":{"range":[1,2],"fre":true}}}`, `knobs.k.fre: unknown field "fre", did you mean "free"?`},
		{"not an object", "diff", `[]`, "a list is not an object"},
		{"not JSON", "diff", `{`, "not JSON"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			k, _ := fakeKinds().Lookup(tt.kind)
			_, err := k.Decode(json.RawMessage(tt.with))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v\nwant %s", err, tt.want)
			}
		})
	}
}

// A kind that never went through NewKinds decodes all the same: tests of steps
// do that.
func TestDecodeWithoutKinds(t *testing.T) {
	k := kind.Kind{Name: "diff", New: func() kind.Step { return &fakeDiff{Looks: 3} }}
	s, err := k.Decode(json.RawMessage(`{"measured":{"artefact":"measurement","digest":"d"},"simulated":{"artefact":"simulation","digest":"d"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if d := s.(*fakeDiff); d.Looks != 3 || d.Scope != "stable" {
		t.Errorf("what New set stands before the default: %+v", d)
	}
}
