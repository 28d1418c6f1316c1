package profile

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/gonum/mat"
)

// Cell is one experiment of a probe: requests of one prompt and output length,
// a number of them at once, repeated. Its times are medians over requests and
// repeats, which leave out a stall and a cold start.
type Cell struct {
	Prompt      int           // tokens
	Output      int           // tokens produced
	Concurrency int           // requests at once
	Active      float64       // sequences that decoded while TPOT was taken, on average; 0 is Concurrency
	TTFT        time.Duration // used where Concurrency is 1; 0 is not measured
	TPOT        time.Duration // 0 is not measured
	N           int           // requests behind the medians
}

// Residual is how a fitted profile meets a cell.
type Residual struct {
	Prompt      int     `json:"prompt"`
	Concurrency int     `json:"concurrency"`
	Metric      string  `json:"metric"` // ttft or tpot
	Seen        float64 `json:"seen_s"`
	Fitted      float64 `json:"fitted_s"`
	Error       float64 `json:"error"` // (fitted - seen) / seen
}

// StepFit is a step-time profile fitted to probes.
type StepFit struct {
	Step      StepTime
	FrontEnd  time.Duration // of a request, outside the steps: network and API server
	Covers    Covers
	Residuals []Residual
	Median    float64 // of |Error|
	Worst     float64 // of |Error|
	Doubts    []string
}

// FitOptions are what is known of the engine.
type FitOptions struct {
	Chunk   int  // token budget of a step; 0 is more than any prompt
	Context bool // fit the price of a context token; else it is 0
}

// Parameters of the fit, in the order of its columns.
const (
	colBase     = iota // of a step
	colSeq             // per sequence in a step
	colPrefill         // per prefill token
	colFrontEnd        // per request
	colContext         // per context token read
	nCols
)

func fitNames() [nCols]string {
	return [nCols]string{"base", "per_sequence", "per_prefill_token", "front_end", "per_context_token"}
}

// minGain is how much of a parameter's effect on the equations the others must
// leave unexplained for it to count as separable: with less, noise of 1 % in
// the medians becomes noise of 10 % and more in the parameter.
const minGain = 0.1

// FitSteps finds the step-time profile and the front-end delay that explain
// probes. The equations, with P the prompt, c the sequences in a step and
// k = ⌈P/chunk⌉ the steps of a prefill:
//
//	TTFT (alone) = front_end + k·(base + per_sequence) + P·per_prefill_token + read·per_context_token
//	TPOT         = base + c·per_sequence + c·(P + (n−2)/2)·per_context_token
//
// TTFT alone cannot tell the front-end from the base of the prefill's step;
// TPOT has no front-end, and gives the base. TPOT at one concurrency cannot
// tell the base from the price of a sequence; several can. What the cells
// cannot separate is refused, with the probe to add. Least squares on relative
// errors; no parameter is below 0.
func FitSteps(cells []Cell, opt FitOptions) (*StepFit, error) {
	cols := []int{colBase, colSeq, colPrefill, colFrontEnd}
	if opt.Context {
		cols = append(cols, colContext)
	}
	eqs := equations(cells, opt)
	if len(eqs) < len(cols) {
		return nil, fmt.Errorf("fit a step-time profile: %d medians cannot give %d parameters; add prompts and concurrencies", len(eqs), len(cols))
	}
	if err := separable(eqs, cols); err != nil {
		return nil, fmt.Errorf("fit a step-time profile: %w", err)
	}
	x, err := nonNegative(eqs, cols)
	if err != nil {
		return nil, fmt.Errorf("fit a step-time profile: %w", err)
	}
	for i := range x {
		x[i] = significant(x[i])
	}
	f := &StepFit{
		Step: StepTime{
			Base: Cost(x[colBase]), PerSequence: Cost(x[colSeq]),
			PerPrefillToken: Cost(x[colPrefill]), PerContextToken: Cost(x[colContext]),
		},
		FrontEnd: Cost(x[colFrontEnd]).Duration(),
	}
	f.cover(cells)
	f.judge(eqs, x)
	for _, c := range cols {
		if x[c] == 0 {
			f.Doubts = append(f.Doubts, fitNames()[c]+" came out at 0: the probes show none, or their noise hides it")
		}
	}
	if err := f.Step.Check(); err != nil {
		return nil, fmt.Errorf("fit a step-time profile: %w", err)
	}
	return f, nil
}

// significant rounds a time in seconds to five digits, as a file writes it:
// more than any probe knows, and few enough to read.
func significant(v float64) float64 {
	for _, u := range units {
		if v*u.per >= 1 || u.name == "ns" {
			c, err := ParseCost(strconv.FormatFloat(v*u.per, 'g', 5, 64) + u.name)
			if err == nil {
				return float64(c)
			}
		}
	}
	return v
}

// equation is one median: coefficients of the parameters, and what was seen.
type equation struct {
	cell   Cell
	metric string
	a      [nCols]float64
	y      float64 // seconds
}

func equations(cells []Cell, opt FitOptions) []equation {
	var out []equation
	for _, c := range cells {
		conc := c.Active
		if conc == 0 {
			conc = float64(c.Concurrency)
		}
		if c.TTFT > 0 && c.Concurrency == 1 {
			steps, read := prefillSteps(c.Prompt, opt.Chunk)
			e := equation{cell: c, metric: "ttft", y: c.TTFT.Seconds()}
			e.a[colBase], e.a[colSeq], e.a[colPrefill], e.a[colFrontEnd], e.a[colContext] = float64(steps), float64(steps), float64(c.Prompt), 1, float64(read)
			out = append(out, e)
		}
		if c.TPOT > 0 && c.Output > 1 {
			e := equation{cell: c, metric: "tpot", y: c.TPOT.Seconds()}
			e.a[colBase], e.a[colSeq] = 1, conc
			e.a[colContext] = conc * (float64(c.Prompt) + float64(c.Output-2)/2)
			out = append(out, e)
		}
	}
	return out
}

// prefillSteps is how many steps a prompt takes alone, and how many tokens of
// context its chunks read together.
func prefillSteps(prompt, chunk int) (steps, read int) {
	if chunk <= 0 {
		return 1, 0
	}
	for done := 0; done < prompt; done += chunk {
		steps++
		read += done
	}
	return max(1, steps), read
}

// separable refuses parameters that the equations cannot tell apart: those
// whose column is nearly a combination of the others'.
func separable(eqs []equation, cols []int) error {
	var names, advice []string
	for _, c := range cols {
		gain, err := distinct(eqs, cols, c)
		if err != nil {
			return err
		}
		if gain < minGain {
			names = append(names, fitNames()[c])
		}
	}
	if names == nil {
		return nil
	}
	counts, prompts := map[int]bool{}, map[int]bool{}
	single, decode := false, false
	for _, e := range eqs {
		counts[e.cell.Concurrency], prompts[e.cell.Prompt] = true, true
		single = single || e.metric == "ttft"
		decode = decode || e.metric == "tpot"
	}
	for _, a := range []struct {
		missing bool
		text    string
	}{
		{!single, "requests alone, for their TTFT"},
		{!decode, "requests of 2 or more output tokens, for their TPOT"},
		{len(counts) < 2, "decodes at a second concurrency, as 1 and 8"},
		{len(prompts) < 2, "a second, much longer prompt"},
	} {
		if a.missing {
			advice = append(advice, a.text)
		}
	}
	if advice == nil {
		advice = []string{"prompts and concurrencies that lie further apart, in all combinations"}
	}
	return fmt.Errorf("the probes cannot tell apart: %s; add %s", strings.Join(names, ", "), strings.Join(advice, ", and "))
}

// distinct is how much of a parameter's column the other columns cannot make
// up, in [0,1].
func distinct(eqs []equation, cols []int, c int) (float64, error) {
	var rest []int
	for _, o := range cols {
		if o != c {
			rest = append(rest, o)
		}
	}
	y := mat.NewVecDense(len(eqs), nil)
	norm := 0.0
	for i, e := range eqs {
		v := e.a[c] / e.y
		y.SetVec(i, v)
		norm += float64(v * v)
	}
	if norm == 0 {
		return 0, nil
	}
	a, _ := design(eqs, rest)
	var svd mat.SVD
	if !svd.Factorize(a, mat.SVDThin) {
		return 0, errors.New("the equations have no singular values; are all times finite?")
	}
	left := norm
	if rank := svd.Rank(1e-9); rank > 0 {
		var x, r mat.Dense
		svd.SolveTo(&x, y, rank)
		r.Mul(a, &x)
		left = 0
		for i := range eqs {
			d := y.AtVec(i) - r.At(i, 0)
			left += float64(d * d)
		}
	}
	return math.Sqrt(left / norm), nil
}

// design is the matrix of the equations, each divided by what was seen, so
// that errors are relative, and each column by its largest entry.
func design(eqs []equation, cols []int) (a *mat.Dense, largest []float64) {
	a, largest = mat.NewDense(len(eqs), len(cols), nil), make([]float64, len(cols))
	for j, c := range cols {
		most := 1e-300
		for _, e := range eqs {
			most = math.Max(most, math.Abs(e.a[c]/e.y))
		}
		for i, e := range eqs {
			a.Set(i, j, e.a[c]/e.y/most)
		}
		largest[j] = most
	}
	return a, largest
}

// nonNegative solves least squares with every parameter from 0 on. There are
// at most five, so that every set of parameters held at 0 is tried; the best
// with no negative one wins.
func nonNegative(eqs []equation, cols []int) (best [nCols]float64, err error) {
	least := math.Inf(1)
	for set := 1; set < 1<<len(cols); set++ {
		var use []int
		for b, c := range cols {
			if set>>b&1 == 1 {
				use = append(use, c)
			}
		}
		x, ok := solve(eqs, use)
		if !ok {
			continue
		}
		loss := 0.0
		for _, e := range eqs {
			d := predict(e, x)/e.y - 1
			loss += float64(d * d)
		}
		// A smaller set must be truly better, not better by a rounding.
		if loss < least*(1-1e-9) {
			least, best = loss, x
		}
	}
	if math.IsInf(least, 1) {
		return best, errors.New("no prices from 0 on explain the medians; are all times finite?")
	}
	return best, nil
}

func solve(eqs []equation, use []int) (x [nCols]float64, ok bool) {
	a, largest := design(eqs, use)
	y := mat.NewVecDense(len(eqs), nil)
	for i := range eqs {
		y.SetVec(i, 1)
	}
	var qr mat.QR
	qr.Factorize(a)
	var s mat.VecDense
	if qr.SolveVecTo(&s, false, y) != nil {
		return x, false
	}
	for j, c := range use {
		v := s.AtVec(j) / largest[j]
		if !(v >= 0) {
			return x, false
		}
		x[c] = v
	}
	return x, true
}

func predict(e equation, x [nCols]float64) float64 {
	s := 0.0
	for c := range x {
		s += float64(e.a[c] * x[c])
	}
	return s
}

// cover states what the probes reached.
func (f *StepFit) cover(cells []Cell) {
	for _, c := range cells {
		f.Covers.Prompt = max(f.Covers.Prompt, c.Prompt)
		f.Covers.Context = max(f.Covers.Context, c.Prompt+c.Output)
		f.Covers.Batch = max(f.Covers.Batch, c.Concurrency)
	}
}

func (f *StepFit) judge(eqs []equation, x [nCols]float64) {
	var abs []float64
	for _, e := range eqs {
		fit := predict(e, x)
		r := Residual{e.cell.Prompt, e.cell.Concurrency, e.metric, e.y, fit, fit/e.y - 1}
		f.Residuals = append(f.Residuals, r)
		abs = append(abs, math.Abs(r.Error))
		f.Worst = math.Max(f.Worst, math.Abs(r.Error))
	}
	f.Median = median(abs)
	if f.Worst > 0.1 {
		f.Doubts = append(f.Doubts, fmt.Sprintf("one probe is missed by %.0f %%: the engine's steps are not a sum of these prices there", 100*f.Worst))
	}
}
