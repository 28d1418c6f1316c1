package steps

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"calrun/internal/compare"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// Rivals are two simulations of one measurement and which of them is closer to
// it.
type Rivals struct {
	Measurement string      `json:"measurement" doc:"digest of what both simulated"`
	A           RivalOrigin `json:"a" doc:"the first"`
	B           RivalOrigin `json:"b" doc:"the second"`
	compare.Rivalry
}

// RivalOrigin says where a simulation came from.
type RivalOrigin struct {
	Run        string `json:"run" doc:"run"`
	Step       string `json:"step" doc:"step that simulated; empty if none of the round did"`
	Diff       string `json:"diff" doc:"step that compared it with the measurement"`
	Simulator  string `json:"simulator" doc:"the simulator, as its step names it"`
	Simulation string `json:"simulation" doc:"digest"`
}

// RivalsIn are all pairs of simulations of one measurement that a run compared
// with it, in the order of its steps.
func RivalsIn(r RunRecord) ([]Rivals, error) {
	var out []Rivals
	all := simulatedIn(r)
	for i, a := range all {
		for _, b := range all[i+1:] {
			if !a.rivals(b) {
				continue
			}
			found, err := a.against(b)
			if err != nil {
				return nil, err
			}
			out = append(out, found)
		}
	}
	return out, nil
}

// RivalsOf are the pairs of simulations of one measurement that two runs
// compared with it: those of diff steps of one name, and where a run has but
// one for a measurement those of any name. apart says that the runs have
// simulations, and of no measurement in common.
func RivalsOf(a, b RunRecord) (found []Rivals, apart bool, err error) {
	first, second := simulatedIn(a), simulatedIn(b)
	apart = len(first) > 0 && len(second) > 0
	for _, x := range first {
		others := x.sameMeasurement(second)
		alone := len(others) == 1 && len(x.sameMeasurement(first)) == 1
		for _, y := range others {
			apart = false
			if !x.rivals(y) || !alone && x.origin.Diff != y.origin.Diff {
				continue
			}
			r, err := x.against(y)
			if err != nil {
				return nil, false, err
			}
			found = append(found, r)
		}
	}
	return found, apart, nil
}

// simulated is a simulation that a diff step compared with a measurement.
type simulated struct {
	origin              RivalOrigin
	measured, simulated pipeline.Artefact
	scope               string
	open                func(pipeline.Artefact) (path string, err error)
}

// simulatedIn lists them for the last round of a run, in the order of its
// steps.
func simulatedIn(r RunRecord) []simulated {
	if len(r.State.Rounds) == 0 {
		return nil
	}
	last := r.State.Rounds[len(r.State.Rounds)-1]
	b := &reporter{RunRecord: r}
	names := b.order(last.Steps)
	var out []simulated
	for _, name := range names {
		st := last.Steps[name]
		var with struct {
			Measured, Simulated pipeline.Artefact
			Scope               string
		}
		if st.Kind != diffKind.Name || st.Result == nil || json.Unmarshal(st.With, &with) != nil {
			continue
		}
		s := simulated{
			origin:   RivalOrigin{Run: r.State.Run, Diff: name, Simulation: with.Simulated.Digest},
			measured: with.Measured, simulated: with.Simulated, scope: with.Scope, open: r.Artefact,
		}
		for _, maker := range names {
			var made struct {
				Simulation pipeline.Artefact
				Simulator  string
			}
			if json.Unmarshal(last.Steps[maker].Result, &made) == nil && made.Simulation.Digest == with.Simulated.Digest {
				s.origin.Step, s.origin.Simulator = maker, made.Simulator
				if strings.HasPrefix(made.Simulator, "sha256:") { // of its sources
					s.origin.Simulator = embedded + " " + made.Simulator
				}
				break
			}
		}
		out = append(out, s)
	}
	return out
}

// sameMeasurement are those of all that simulated what s did.
func (s simulated) sameMeasurement(all []simulated) []simulated {
	return slices.DeleteFunc(slices.Clone(all), func(x simulated) bool { return x.measured.Digest != s.measured.Digest })
}

// rivals says whether two are different simulations of one measurement.
func (s simulated) rivals(other simulated) bool {
	return s.measured.Digest == other.measured.Digest && s.simulated.Digest != other.simulated.Digest
}

// against compares the two.
func (s simulated) against(other simulated) (Rivals, error) {
	out := Rivals{Measurement: s.measured.Digest, A: s.origin, B: other.origin}
	_, measured, err := s.points(s.measured)
	if err != nil {
		return out, err
	}
	var sides [2]compare.Simulation
	for k, x := range [...]simulated{s, other} {
		var dir string
		if dir, sides[k].Points, err = x.points(x.simulated); err != nil {
			return out, err
		}
		if sides[k].FittedOn, err = readFittedOn(dir); err != nil {
			return out, err
		}
	}
	r, err := compare.Rivals(measured, sides[0], sides[1], compare.Options{Scope: s.scope, Seed: 1})
	if err != nil {
		return out, fmt.Errorf("%s of run %s against %s of run %s: %w", s.origin.Step, s.origin.Run, other.origin.Step, other.origin.Run, err)
	}
	out.Rivalry = *r
	return out, nil
}

// points reads the points of an artefact, and says where it lies.
func (s simulated) points(a pipeline.Artefact) (dir string, points []trace.Point, err error) {
	if dir, err = s.open(a); err == nil {
		points, err = trace.ReadPoints(dir)
	}
	if err != nil {
		return "", nil, fmt.Errorf("the %s of run %s: %w", a.Of, s.origin.Run, err)
	}
	return dir, points, nil
}
