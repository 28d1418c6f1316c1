package steps

import (
	"slices"
	"strings"
	"testing"
	"time"

	"calrun/internal/profile"
	"calrun/internal/trace"
)

// A profile that has one phase wrong is told so by the probes, with the factor,
// and one that lacks a constant is not called wrong.
func TestProbesJudgeTheProfile(t *testing.T) {
	truth := profile.StepTime{Base: 8e-3, PerPrefillToken: 50e-6, PerSequence: 100e-6}
	for _, c := range []struct {
		why    string
		spoil  func(*profile.StepTime)
		late   time.Duration
		wrong  string
		factor float64
		doubt  string
	}{
		{"the profile of this engine", func(*profile.StepTime) {}, 0, "", 1, ""},
		{"prefill half as long", func(s *profile.StepTime) { s.PerPrefillToken /= 2 }, 0, "prefill", 2, ""},
		{"a step a third too long", func(s *profile.StepTime) { s.Base = 12e-3 }, 0, "decode", 8.1 / 12.1, ""},
		{"a front end of 20 ms that nobody stated", func(*profile.StepTime) {}, 20 * time.Millisecond, "", 1, "probes.first"},
	} {
		e := emulated(3, truth)
		e.n = 20
		e.cfg.FrontEnd += c.late
		facts := e.facts()
		points := e.measure(t, 8)
		has := truth
		c.spoil(&has)
		s := &ProfileCheck{}
		s.Profiles.Path = profileOf(t, has)
		s.Params.FrontEnd = new(2.5e-3)
		s.Workload, s.Measured = folder(t, "workload", points, facts), folder(t, "measurement", points, facts)
		res := runCheck(t, s)
		load := slices.DeleteFunc(slices.Clone(points), trace.Point.Alone)
		if s.Measured = folder(t, "measurement", load, facts); runCheck(t, s).Probed != nil {
			t.Errorf("%s: without probes nothing is known of the kernels", c.why)
		}
		if res.Probed == nil || *res.Probed != (c.wrong == "") {
			t.Errorf("%s: probed %v, phases %+v", c.why, res.Probed, res.Phases)
		}
		if i := slices.IndexFunc(res.Phases, func(p profile.Phase) bool { return p.Phase == c.wrong }); c.wrong != "" &&
			(i < 0 || res.Phases[i].Low > 1.03*c.factor || res.Phases[i].High < 0.97*c.factor) {
			t.Errorf("%s: want %s off by %.3g: %+v", c.why, c.wrong, c.factor, res.Phases)
		}
		if c.doubt != "" && !slices.ContainsFunc(res.Doubts, func(d string) bool { return strings.HasPrefix(d, c.doubt) }) {
			t.Errorf("%s: doubts %q", c.why, res.Doubts)
		}
	}
}
