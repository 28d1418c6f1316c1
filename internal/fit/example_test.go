package fit_test

import (
	"context"
	"fmt"
	"time"

	"calrun/internal/fit"
	"calrun/internal/trace"
)

// An engine whose steps take 8 ms is simulated by one that believes in 5.5 ms
// and has a knob for what is missing.
func ExampleCalibrate() {
	served := func(step time.Duration) []trace.Point {
		row := trace.Row{Request: trace.Request{Prompt: 100, Output: 11}, First: step, Last: 11 * step, Tokens: 11}
		return []trace.Point{{Name: "probe-100-11", Group: trace.Probe, Runs: []trace.Run{{Seed: 1, State: trace.OK, Rows: []trace.Row{row}}}}}
	}
	f, err := fit.Calibrate(context.Background(), fit.Problem{
		Measured: served(8 * time.Millisecond),
		Knobs:    []fit.Knob{{Name: "cpu_overhead_s", Lo: 0, Hi: 0.02, Start: 0}},
		Simulate: func(_ context.Context, p fit.Params) ([]trace.Point, error) {
			overhead, _ := p.Get("cpu_overhead_s")
			return served(trace.FromSeconds(0.0055 + overhead)), nil
		},
	}, fit.Options{Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	overhead, _ := f.Values.Get("cpu_overhead_s")
	fmt.Printf("%.4f s, improved: %v\n", overhead, f.Improved)
	// Output: 0.0025 s, improved: true
}
