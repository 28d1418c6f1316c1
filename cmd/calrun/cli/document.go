package cli

import (
	"encoding/json"
	"time"

	"calrun/pipeline"
)

// document is what run, resume and show print with --json.
type document struct {
	Calrun  string                 `json:"calrun"` // "v1": the form of this document
	Run     string                 `json:"run"`
	Plan    string                 `json:"plan"`
	File    string                 `json:"file"`
	Verdict *string                `json:"verdict"` // null while open and after an error
	Exit    int                    `json:"exit"`
	Rounds  []roundDoc             `json:"rounds"`
	Gates   map[string]gateDoc     `json:"gates"` // of the last round
	Steps   map[string]stepDoc     `json:"steps"` // of the last round, with their results
	Report  string                 `json:"report"`
	Reasons []string               `json:"reasons"`
	Opened  time.Time              `json:"opened"`
	Closed  *time.Time             `json:"closed"`
	Inputs  map[string]interface{} `json:"inputs"`
}

type roundDoc struct {
	Round int                 `json:"round"`
	Steps map[string]stepDoc  `json:"steps"`
	Gates map[string]verdicts `json:"gates"`
	Route *routeDoc           `json:"route"`
}

type verdicts struct {
	Verdict string `json:"verdict"`
}

type stepDoc struct {
	Kind    string          `json:"kind"`
	Status  string          `json:"status"`
	Seconds float64         `json:"seconds"`
	From    string          `json:"from,omitempty"`
	Error   string          `json:"error,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
}

type gateDoc struct {
	Verdict string               `json:"verdict"`
	Blocked bool                 `json:"blocked,omitempty"`
	Error   string               `json:"error,omitempty"`
	Assert  []pipeline.Judgement `json:"assert"`
	Warn    []pipeline.Judgement `json:"warn,omitempty"`
}

type routeDoc struct {
	Gate   string                     `json:"gate"`
	Index  int                        `json:"index"`
	When   string                     `json:"when"`
	Values map[string]any             `json:"values,omitempty"`
	Run    string                     `json:"run,omitempty"`
	Remedy *stepDoc                   `json:"remedy,omitempty"`
	Sets   map[string]json.RawMessage `json:"sets,omitempty"`
	Notes  []string                   `json:"notes,omitempty"`
}

// documentOf is a run as its document. report is the path of its page, empty
// if it has none.
func documentOf(s *pipeline.State, report string) document {
	d := document{
		Calrun: "v1", Run: s.Run, Plan: s.Plan, File: s.File, Exit: exitOf(s), Report: report, Reasons: s.Reasons, Opened: s.Opened,
		Rounds: []roundDoc{}, Gates: map[string]gateDoc{}, Steps: map[string]stepDoc{}, Inputs: map[string]any{},
	}
	if d.Reasons == nil {
		d.Reasons = []string{}
	}
	if s.Verdict != "" {
		v := string(s.Verdict)
		d.Verdict = &v
	}
	if !s.Closed.IsZero() {
		closed := s.Closed
		d.Closed = &closed
	}
	for name, v := range s.Inputs {
		d.Inputs[name] = v
	}
	for i, r := range s.Rounds {
		d.Rounds = append(d.Rounds, roundOf(r))
		if i == len(s.Rounds)-1 {
			for name, st := range r.Steps {
				d.Steps[name] = stepOf(st, true)
			}
			for name, g := range r.Gates {
				d.Gates[name] = gateDoc{Verdict: string(g.Verdict), Blocked: g.Blocked, Error: g.Error, Assert: g.Assert, Warn: g.Warn}
			}
		}
	}
	return d
}

// exitOf is the code with which the command that did the last of a run ended.
func exitOf(s *pipeline.State) int {
	if s.Closed.IsZero() && s.Exit == pipeline.ExitPass {
		return pipeline.ExitInterrupted // open: being worked on, or its process died
	}
	return s.Exit
}

func roundOf(r *pipeline.Round) roundDoc {
	out := roundDoc{Round: r.N, Steps: map[string]stepDoc{}, Gates: map[string]verdicts{}}
	for name, st := range r.Steps {
		out.Steps[name] = stepOf(st, false)
	}
	for name, g := range r.Gates {
		out.Gates[name] = verdicts{string(g.Verdict)}
	}
	if rt := r.Route; rt != nil {
		out.Route = &routeDoc{Gate: rt.Gate, Index: rt.Index, When: rt.When, Values: rt.Values, Run: rt.Run, Sets: rt.Sets, Notes: rt.Notes}
		if rt.Remedy != nil {
			remedy := stepOf(rt.Remedy, true)
			out.Route.Remedy, out.Route.Sets = &remedy, rt.Remedy.Sets
		}
	}
	return out
}

func stepOf(s *pipeline.StepState, result bool) stepDoc {
	d := stepDoc{Kind: s.Kind, Status: string(s.Status), From: s.From, Error: s.Error}
	if s.Status != pipeline.Reused && !s.Started.IsZero() && !s.Ended.IsZero() {
		d.Seconds = s.Ended.Sub(s.Started).Seconds()
	}
	if result {
		d.Result = s.Result
	}
	return d
}
