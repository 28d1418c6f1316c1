package steps

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"calrun/internal/compare"
	"calrun/internal/fit"
	"calrun/internal/trace"
	"calrun/pipeline"
)

var diagnoseKind = pipeline.Kind{
	Name: "diagnose", Doc: "Ask for the likely cause of an error, cheapest suspicion first, before a kernel is blamed.",
	Version: 3, Repeat: pipeline.Seeded,
	New: func() pipeline.Step { return &Diagnose{Simulator: embedded, Seed: 1} }, Result: DiagnoseResult{},
}

// Diagnose asks of each suspected cause, in a fixed order, how much of the
// error would go if the simulation were changed accordingly, by simulating it:
// inputs, configuration, KV blocks, constant overheads, kernels.
type Diagnose struct {
	Error      pipeline.Artefact `yaml:"error" artefact:"diff" doc:"detail of the comparison; says at which points the engine did not keep up"`
	Profile    pipeline.Artefact `yaml:"profile" artefact:"findings" doc:"findings of profile-check; say whether the profile is stale or does not cover the workload"`
	Measured   pipeline.Artefact `yaml:"measured" artefact:"measurement" required:"true" doc:"what the engine did"`
	Workload   pipeline.Artefact `yaml:"workload" artefact:"workload" required:"true" doc:"what the simulator was given"`
	Profiles   pipeline.Artefact `yaml:"profiles" artefact:"profiles" required:"true" doc:"profiles that the simulator read"`
	Params     Params            `yaml:"params" doc:"parameters that the simulator had: the effective ones of simulate"`
	Deployment Deployment        `yaml:"deployment" doc:"what was deployed"`
	Simulator  string            `yaml:"simulator" enum:"embedded,vidur" default:"embedded" doc:"the simulator that erred: embedded, or vidur for the real one, of which the embedded one with its scheduler is asked, corrected by how the two differ"`
	Vidur      VidurPlace        `yaml:"vidur" doc:"which Vidur, where simulator is vidur"`
	Simulated  pipeline.Artefact `yaml:"simulated" artefact:"simulation" doc:"what Vidur said with params; if it is not given, it is asked again"`
	Seed       int               `yaml:"seed" default:"1" min:"0" doc:"of the fits of constants and factors"`
}

// DiagnoseResult names the likely cause. At most one of the booleans is true,
// but for kernel, which is also true when the profile is stale.
type DiagnoseResult struct {
	Cause      string        `json:"cause" doc:"input, config, scheduler, kv, overhead, kernel, profile; none if there is no error to speak of, unknown if nothing explains it"`
	Input      bool          `json:"input" doc:"the simulator was given other requests than the engine served"`
	Config     bool          `json:"config" doc:"batch cap, chunk size, or a setting that profile-check found to differ"`
	Scheduler  bool          `json:"scheduler" doc:"the engine schedules in a way that the simulator does not"`
	KV         bool          `json:"kv" doc:"the number of KV-cache blocks differs"`
	Overhead   bool          `json:"overhead" doc:"a constant per step or per request is missing or too large"`
	Kernel     bool          `json:"kernel" doc:"a kernel family is off by a factor, or the profile is stale and nothing else explains the error: what re-profiling repairs"`
	Profile    bool          `json:"profile" doc:"nothing explains the error, and profile-check calls the profile stale or short of the workload"`
	Loss       float64       `json:"loss" doc:"weighted mean of ln(simulated/measured)² over P50 and mean of each point; its root is about the relative error"`
	Explains   float64       `json:"explains" doc:"share of loss that the cause explains, in [0,1]"`
	Confidence string        `json:"confidence" doc:"why this cause and not another, as a sentence"`
	Ranking    []RankedCause `json:"ranking" doc:"causes, the likeliest first; each is judged with those before it repaired, for more than one may be at work"`
	Evidence   []Evidence    `json:"evidence" doc:"every hypothesis that was asked, in the order of suspicion"`
	Notes      []string      `json:"notes" doc:"differences that cannot be simulated, and doubts"`
}

// Evidence is one hypothesis and what a simulation says of it.
type Evidence struct {
	Hypothesis string             `json:"hypothesis" doc:"what is supposed"`
	Cause      string             `json:"cause" doc:"the cause that it speaks for"`
	Explains   float64            `json:"explains" doc:"share of the loss that would go, in [0,1]"`
	Low        float64            `json:"explains_low" doc:"lower end of the interval of explains at the level of 95 %, by resampling seeds and blocks of requests, measured and simulated together"`
	High       float64            `json:"explains_high" doc:"upper end of it"`
	Before     float64            `json:"before" doc:"loss as it is"`
	After      float64            `json:"after" doc:"loss if it holds"`
	Excess     float64            `json:"excess" doc:"by how much the sum of squares that would be left, in units of noise, exceeds the smallest"`
	Enough     bool               `json:"enough" doc:"it explains enough to be the cause, if none before it does"`
	Values     map[string]float64 `json:"values" doc:"parameters that it sets or that were fitted"`
	Note       string             `json:"note" doc:"what was seen"`
}

// Identity implements [pipeline.Identifier]: the sources of the simulator and
// of the fit.
func (s *Diagnose) Identity(ctx context.Context) (map[string]string, error) {
	return whatIfIdentity(ctx, s.Simulator, s.Vidur)
}

// Run implements [pipeline.Step].
func (s *Diagnose) Run(ctx context.Context, rt *pipeline.Runtime) (any, error) {
	c, err := s.open()
	if err == nil && s.Simulator == realVidur {
		err = s.likeVidur(ctx, rt, c)
	}
	if err != nil {
		return nil, fmt.Errorf("diagnose: %w", err)
	}
	return s.diagnose(ctx, rt, c)
}

// diagnose is Run once everything is read.
func (s *Diagnose) diagnose(ctx context.Context, rt *pipeline.Runtime, c *diagnosis) (*DiagnoseResult, error) {
	if err := c.match(); err != nil {
		return nil, fmt.Errorf("diagnose: %w", err)
	}
	c.lookAhead()
	evidence, err := c.ask(ctx, rt, c.suspects(), uint64(s.Seed))
	if err != nil {
		return nil, fmt.Errorf("diagnose: %w", err)
	}
	r := &DiagnoseResult{Evidence: evidence, Notes: c.notes, Loss: evidence[0].Before}
	r.conclude(c)
	if r.Ranking, err = s.rank(ctx, rt, c, r.Evidence); err != nil {
		return nil, fmt.Errorf("diagnose: %w", err)
	}
	rt.Log().Info().Str("cause", r.Cause).Msg(r.Confidence)
	return r, nil
}

// evidenceOf is what a simulation says of a suspect.
func evidenceOf(x suspect, a fit.Attribution) Evidence {
	e := Evidence{
		Hypothesis: x.Name, Cause: x.cause, Explains: a.Explains, Low: a.Interval.Low, High: a.Interval.High, Before: a.Before, After: a.After,
		Values: map[string]float64{}, Note: x.note,
	}
	for _, v := range a.Values {
		e.Values[v.Name] = v.Value
	}
	return e
}

const (
	// negligible is a loss not worth a cause, and too near to noise to have
	// one: a root mean square of 2 %. A queue turns 0.5 % in a step's time
	// into more than 1 % in a median TTFT.
	negligible = 4e-4
	// noise is what two runs of one engine differ by in medians and means:
	// a root mean square of 0.5 %.
	noise = 2.5e-5
	// enoughShare is the least share of the loss that a cause must explain.
	enoughShare = 0.5
	// rival is how many times the best hypothesis's remaining loss an earlier
	// one may leave. A constant mimics a factor to within a few percent, so
	// that both explain nearly all: what is left tells them apart.
	rival = 3
	// lead is the excess ([fit.Excess]) up to which an earlier hypothesis may
	// stand before the best: 4 would be a chance of 1 in 20 were the statistics
	// independent, and of medians, means, first tokens and ends about three tell
	// the same.
	lead = 12
)

// conclude picks the first hypothesis in the order of suspicion that explains
// at least half of the loss and leaves about as little as the best one does.
// A setting that differs and cannot be simulated goes before constants and
// kernels, since a factor mimics it all too well.
func (r *DiagnoseResult) conclude(c *diagnosis) {
	cause := weigh(r.Evidence)
	late := cause < 0 || r.Evidence[cause].fitted()
	switch {
	case r.Loss <= negligible:
		r.Cause = "none"
		r.Confidence = fmt.Sprintf("medians and means are right to %.1f %%; there is no error to explain", percent(r.Loss))
	case late && len(c.direct) > 0:
		r.Cause = "config"
		r.Confidence = "settings differ that no simulation undoes, and nothing before them explains half of the loss: " + strings.Join(c.direct, "; ")
	case cause >= 0:
		e := r.Evidence[cause]
		r.Cause, r.Explains = e.Cause, e.Explains
		r.Confidence = fmt.Sprintf("%s: explains %.0f %% of the loss (%.0f to %.0f), and leaves an error of %.1f %% where there was one of %.1f %%", e.Hypothesis, 100*e.Explains, 100*e.Low, 100*e.High, percent(e.After), percent(e.Before))
		r.Confidence += r.runnerUp(cause)
	case len(c.unsimulated) > 0:
		r.Cause = "scheduler"
		r.Confidence = "nothing that can be simulated explains half of the loss, and " + c.unsimulated[0]
	case c.stale != "":
		r.Cause, r.Kernel = "profile", true
		r.Confidence = "nothing else explains half of the loss, and " + c.stale
	default:
		r.Cause = "unknown"
		r.Confidence = "no single change explains half of the loss; several causes together, or a profile that is wrong in its shape"
	}
	for name, flag := range map[string]*bool{
		"input": &r.Input, "config": &r.Config, "scheduler": &r.Scheduler, "kv": &r.KV,
		"overhead": &r.Overhead, "kernel": &r.Kernel, "profile": &r.Profile,
	} {
		*flag = *flag || name == r.Cause
	}
}

// weigh marks the hypotheses that explain enough and yields the first of
// them, −1 if there is none.
func weigh(evidence []Evidence) (cause int) {
	best := math.Inf(1)
	for _, e := range evidence {
		best = min(best, e.After)
	}
	cause = -1
	for i := range evidence {
		e := &evidence[i]
		e.Enough = e.Explains >= enoughShare && e.After <= rival*best+noise && e.Excess <= lead
		if e.Enough && cause < 0 {
			cause = i
		}
	}
	return cause
}

// runnerUp says how the best hypothesis of another cause fares.
func (r *DiagnoseResult) runnerUp(cause int) string {
	best := -1
	for i, e := range r.Evidence {
		if e.Cause != r.Evidence[cause].Cause && (best < 0 || e.After < r.Evidence[best].After) {
			best = i
		}
	}
	if best < 0 {
		return ""
	}
	e := r.Evidence[best]
	text := fmt.Sprintf("; the best other cause, %s, leaves %.1f %%", e.Cause, percent(e.After))
	if e.Enough {
		text += ", so that these points do not tell the two apart: the cheaper suspicion is taken"
	}
	return text
}

// percent is a loss as a relative error.
func percent(loss float64) float64 { return 100 * math.Sqrt(loss) }

// open reads all that the diagnosis needs.
func (s *Diagnose) open() (*diagnosis, error) {
	c := &diagnosis{params: s.Params, notes: []string{}}
	var err error
	if c.measured, err = trace.ReadPoints(s.Measured.Path); err != nil {
		return nil, err
	}
	if c.asked, err = trace.ReadPoints(s.Workload.Path); err != nil {
		return nil, err
	}
	if c.facts, err = readFacts(s.Workload.Path); err != nil {
		return nil, err
	}
	if s.Simulator == embedded {
		if c.sim, err = openWhatIf(s.Simulator, s.Profiles.Path, s.Deployment, c.facts); err != nil {
			return nil, err
		}
	}
	if err := s.overloads(c); err != nil {
		return nil, err
	}
	if s.Profile.Path != "" {
		f, err := readFindings(s.Profile.Path)
		if err != nil {
			return nil, err
		}
		c.read(f)
	}
	return c, nil
}

// overloads marks the points at which the engine did not keep up, as the
// comparison found, or by its rule where its detail is not given: there only
// the time per token is judged.
func (s *Diagnose) overloads(c *diagnosis) error {
	overloaded := unstable
	if s.Error.Path != "" {
		d, err := compare.ReadDetail(s.Error.Path)
		if err != nil {
			return err
		}
		overloaded = func(p trace.Point) bool { return slices.Contains(d.Result.Overloaded, p.Name) }
	}
	var names []string
	if c.measured, names = markOverloaded(c.measured, overloaded); len(names) > 0 {
		c.notes = append(c.notes, "the engine did not keep up at "+strings.Join(names, ", ")+": only the time per token is judged there")
	}
	return nil
}

var (
	_ pipeline.Step       = (*Diagnose)(nil)
	_ pipeline.Identifier = (*Diagnose)(nil)
)
