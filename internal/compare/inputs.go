package compare

import (
	"fmt"
	"time"

	"calrun/internal/trace"
)

// check holds the requests of both sides against each other. Where they
// differ, no error of the point says anything of the simulator.
func (p *pair) check() {
	bySeed := map[int]trace.Run{}
	for _, r := range p.simulated.Runs {
		bySeed[r.Seed] = r
	}
	unlike := 0
	for _, m := range p.measured.Runs {
		s := bySeed[m.Seed]
		for i := range m.Requests {
			if p.differ(m, s, i) {
				unlike++
			}
		}
	}
	p.inputs.Failed = p.failed
	if unlike > 0 {
		p.unlike = fmt.Sprintf("%d of %d requests differ in arrival or length: not the same requests", unlike, p.inputs.Checked)
	}
}

// differ says whether request i of a run is another one in the simulation,
// and counts in what.
func (p *pair) differ(m, s trace.Run, i int) bool {
	want, got := m.Requests[i], s.Requests[i]
	answered := i < len(m.Rows) && m.Rows[i].OK()
	if answered {
		want.Prompt, want.Output = counted(m.Rows[i])
		p.cached += m.Rows[i].Cached
	}
	if i < len(s.Rows) && s.Rows[i].OK() {
		got.Prompt, got.Output = counted(s.Rows[i])
	}
	p.prompts += want.Prompt
	p.inputs.Checked++
	due := (want.Due - got.Due).Abs() > time.Microsecond
	prompt := want.Prompt != got.Prompt
	output := want.Output != got.Output && (i >= len(m.Rows) || answered)
	for _, c := range []struct {
		differs bool
		count   *int
	}{{due, &p.inputs.Due}, {prompt, &p.inputs.Prompt}, {output, &p.inputs.Output}} {
		if c.differs {
			*c.count++
		}
	}
	return due || prompt || output
}

// inputs sums up over all points whether both sides were given the same
// requests.
func inputs(pairs []*pair) Inputs {
	var in Inputs
	prompts, cached := 0, 0
	for _, p := range pairs {
		in.Checked += p.inputs.Checked
		in.Due += p.inputs.Due
		in.Prompt += p.inputs.Prompt
		in.Output += p.inputs.Output
		in.Failed += p.inputs.Failed
		prompts += p.prompts
		cached += p.cached
	}
	if prompts > 0 {
		in.Cached = float64(cached) / float64(prompts)
	}
	in.Same = in.Due == 0 && in.Prompt == 0 && in.Output == 0
	return in
}
