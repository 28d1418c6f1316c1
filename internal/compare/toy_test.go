package compare

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"calrun/internal/trace"
)

// toy is a server with so many slots and a queue before them: enough of an
// engine to have congestion, memory and a knee, at a known truth.
type toy struct {
	slots  int
	factor float64 // on every time
	jitter float64 // relative, by request, from rng
	rng    *rand.Rand
}

// serve runs requests through the toy.
func (t toy) serve(reqs []trace.Request) []trace.Row {
	free := make([]float64, t.slots)
	rows := make([]trace.Row, len(reqs))
	for i, r := range reqs {
		slot := 0
		for k := range free {
			if free[k] < free[slot] {
				slot = k
			}
		}
		noise := func() float64 {
			if t.jitter == 0 {
				return 1
			}
			return 1 + t.jitter*(2*t.rng.Float64()-1)
		}
		start := max(r.Due.Seconds(), free[slot])
		first := start + t.factor*noise()*(0.02+1e-4*float64(r.Prompt))
		last := first + t.factor*noise()*0.01*float64(r.Output-1)
		free[slot] = last
		rows[i] = trace.Row{
			Request: r, Sent: r.Due, First: seconds(first), Last: seconds(last),
			Prompted: r.Prompt, Tokens: r.Output,
		}
	}
	return rows
}

func seconds(s float64) time.Duration { return time.Duration(s * 1e9) }

// lengths are prompts and outputs of a seed, gaps its unit-exponential gaps:
// common to all rates.
func draws(seed uint64, n int) (reqs []trace.Request, gaps []float64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range n {
		reqs = append(reqs, trace.Request{ID: i, Prompt: 50 + rng.IntN(400), Output: 10 + rng.IntN(80)})
		gaps = append(gaps, rng.ExpFloat64())
	}
	return reqs, gaps
}

// world is a measurement and a simulation of the toy.
type world struct {
	rates   []float64
	seeds   int
	n       int
	slots   int
	factor  float64 // of the simulator
	jitter  float64 // of the engine
	noise   float64 // of the simulator
	chance  uint64  // another simulator of the same noise for another value
	from    uint64  // first seed: another world for another value
	repeats int     // of a replay at the last rate; 0 for none
	probes  bool
}

// sides builds both sides. The toy serves about slots/0.5 requests a second.
func (w world) sides() (measured, simulated []trace.Point) {
	if w.slots == 0 {
		w.slots = 4
	}
	if w.factor == 0 {
		w.factor = 1
	}
	add := func(p trace.Point, seed int, reqs []trace.Request, alone bool) {
		eng := toy{w.slots, 1, w.jitter, rand.New(rand.NewPCG(w.from*1000+uint64(seed), 7))}
		sim := toy{w.slots, w.factor, w.noise, rand.New(rand.NewPCG(w.from*1000+uint64(seed), 100+w.chance))}
		if alone {
			eng.slots, sim.slots = len(reqs), len(reqs)
		}
		at := slices.IndexFunc(measured, func(q trace.Point) bool { return q.Name == p.Name })
		if at < 0 {
			measured, simulated = append(measured, p), append(simulated, p)
			at = len(measured) - 1
		}
		rows := eng.serve(reqs)
		window := rows[len(rows)-1].Last
		measured[at].Runs = append(measured[at].Runs, trace.Run{Seed: seed, Requests: reqs, Rows: rows, State: trace.OK, Window: window})
		simulated[at].Runs = append(simulated[at].Runs, trace.Run{Seed: seed, Requests: reqs, Rows: sim.serve(reqs), State: trace.OK, Window: window})
	}
	if w.probes {
		for _, prompt := range []int{50, 250, 450} {
			var reqs []trace.Request
			for i := range 10 {
				reqs = append(reqs, trace.Request{ID: i, Due: time.Duration(i) * 2 * time.Second, Prompt: prompt, Output: 20})
			}
			add(trace.Point{Name: fmt.Sprintf("probe-%d-20", prompt), Group: trace.Probe}, 1, reqs, true)
		}
	}
	for _, rate := range w.rates {
		for seed := 1; seed <= w.seeds; seed++ {
			add(trace.Point{Name: fmt.Sprintf("rps-%g", rate), Group: trace.Sweep, Rate: rate}, seed, w.requests(seed, rate), false)
		}
	}
	for repeat := 1; repeat <= w.repeats; repeat++ {
		rate := w.rates[len(w.rates)-1]
		add(trace.Point{Name: "replay", Group: trace.Replay, Rate: rate}, repeat, w.requests(99, rate), false)
	}
	return measured, simulated
}

func (w world) requests(seed int, rate float64) []trace.Request {
	reqs, gaps := draws(w.from*1000+uint64(seed), w.n)
	at := 0.0
	for i := range reqs {
		at += gaps[i] / rate
		reqs[i].Due = seconds(at)
	}
	return reqs
}
