package steps

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"calrun/internal/emulator"
	"calrun/internal/engine"
	"calrun/internal/profile"
	"calrun/internal/trace"
)

// played is an engine with known truth and the terms that no simulator has,
// measured in counted time: the emulator, without clients.
type played struct {
	cfg  emulator.Config
	seed uint64
	n    int // requests a rate and seed
	runs int // seeds a rate; 0 is 1
	long int // prompts are so many times the quickstart's; 0 is 1
	out  int // output tokens are up to 8 more than this

	shares bool // prompts begin like those before them, and say so
}

// emulated is the emulator with the quickstart's noise and more: 5 % of jitter
// in a step, 0.3 ms in front and a front end that takes one request at a time,
// a warm-up of 20 steps.
func emulated(seed uint64, step profile.StepTime) played {
	return played{seed: seed, n: 400, out: 4, cfg: emulator.Config{
		Step: step, FrontEnd: 2 * time.Millisecond, FrontEndBusy: 200 * time.Microsecond,
		Jitter: emulator.Jitter{Step: 0.05, FrontEnd: 300 * time.Microsecond},
		WarmUp: emulator.WarmUp{Steps: 20, Factor: 1.3}, Seed: int(seed) + 1,
	}}
}

// facts are what the engine states.
func (p played) facts() engine.Facts {
	c := p.cfg.Filled()
	return engine.Facts{
		Name: "calrun-emulator", KVBlocks: &c.KVBlocks, MaxNumSeqs: &c.MaxNumSeqs, MaxTokens: &c.MaxTokens,
		BlockSize: &c.BlockSize, MaxModelLen: &c.MaxModelLen, Async: &c.Async, PrefixCache: &c.PrefixCache,
	}
}

// requests of a seed, from 1, are the same at every rate, and so are the gaps
// but for the rate.
func (p played) requests(rate float64, seed int) []trace.Request {
	rng := rand.New(rand.NewPCG(p.seed, 10+uint64(seed)))
	reqs, due := make([]trace.Request, p.n), 0.0
	for i := range reqs {
		due += rng.ExpFloat64() / rate
		prompt := max(1, p.long) * int(min(512, max(16, 200*math.Exp(rng.NormFloat64()*0.7))))
		reqs[i] = trace.Request{ID: i, Due: trace.FromSeconds(due), Prompt: prompt, Output: p.out + rng.IntN(9)}
		if p.shares { // half of the prompt is one of a few documents, as long as it gets
			c := &trace.Content{Tokens: 16}
			for k := range prompt / 2 / 16 {
				c.IDs = append(c.IDs, uint64(i%8)<<32|uint64(k))
			}
			reqs[i].Content = c
		}
	}
	return reqs
}

// measure is a sweep as hardware-run makes it: probes, then the rates, on one
// engine.
func (p played) measure(t *testing.T, rates ...float64) []trace.Point {
	t.Helper()
	e, err := emulator.NewReplay(p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	var points []trace.Point
	add := func(point trace.Point, serve func([]trace.Request) ([]trace.Row, error), seeds ...[]trace.Request) {
		for i, reqs := range seeds {
			rows, err := serve(reqs)
			if err != nil {
				t.Fatal(err)
			}
			point.Runs = append(point.Runs, trace.Run{Seed: i + 1, Requests: reqs, Rows: rows, State: trace.OK})
		}
		points = append(points, point)
	}
	for _, prompt := range []int{64, 200, 512} {
		reqs := make([]trace.Request, 15)
		for i := range reqs {
			reqs[i] = trace.Request{ID: i, Prompt: max(1, p.long) * prompt, Output: 12}
		}
		add(trace.Point{Name: fmt.Sprintf("probe-%d-12", reqs[0].Prompt), Group: trace.Probe}, e.Alone, reqs)
	}
	for _, rate := range rates {
		var seeds [][]trace.Request
		for i := range max(1, p.runs) {
			seeds = append(seeds, p.requests(rate, i+1))
		}
		add(trace.Point{Name: fmt.Sprintf("rps-%g", rate), Group: trace.Sweep, Rate: rate}, e.Serve, seeds...)
	}
	return points
}

// trials is how often an acceptance test is repeated: a few times in every
// run of the tests, as often as the acceptance asks where CALRUN_LONG is set.
func trials(few, many int) int {
	if os.Getenv("CALRUN_LONG") != "" {
		return many
	}
	return few
}
