package profile

import (
	"slices"
	"testing"
)

// A phase that was measured is judged, whatever came out; one that was not is
// no phase.
func TestProbed(t *testing.T) {
	probe := func(prompt int, ttft, simTTFT float64) Probe {
		return Probe{Point: "p", Prompt: prompt, TTFT: []float64{ttft, ttft}, SimTTFT: simTTFT}
	}
	for _, c := range []struct {
		why    string
		probes []Probe
		phases []string
		ok     bool
	}{
		{"as the profile says", []Probe{probe(16, 0.01, 0.01), probe(512, 0.05, 0.05)}, []string{"prefill", "first"}, true},
		{"a longer prompt costs nothing", []Probe{probe(16, 0.01, 0.01), probe(512, 0.01, 0.05)}, []string{"prefill", "first"}, false},
		{"a longer prompt costs less than nothing", []Probe{probe(16, 0.01, 0.01), probe(512, 0.008, 0.05)}, []string{"prefill", "first"}, false},
		{"one length, so that nothing is told of prefill", []Probe{probe(16, 0.01, 0.01)}, []string{"first"}, true},
		{"none", nil, nil, true},
	} {
		phases, findings := Probed(c.probes)
		var names []string
		for _, p := range phases {
			names = append(names, p.Phase)
		}
		if !slices.Equal(names, c.phases) || AllOK(findings) != c.ok {
			t.Errorf("%s: phases %+v, findings %+v; want %v, ok %v", c.why, phases, findings, c.phases, c.ok)
		}
	}
}
