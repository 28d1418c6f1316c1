package simulator_test

import (
	"context"
	"fmt"
	"time"

	"calrun/internal/profile"
	"calrun/internal/simulator"
	"calrun/internal/trace"
)

// Two requests on an engine whose steps take 10 ms and 10 µs for each prompt
// token: the second comes while the first is prefilled and waits for the next
// step.
func ExampleRun() {
	steps := profile.StepTime{Base: 0.010, PerPrefillToken: 10e-6}
	rows, stats, err := simulator.Run(context.Background(), []trace.Request{
		{ID: 0, Due: 0, Prompt: 1000, Output: 3},
		{ID: 1, Due: 5 * time.Millisecond, Prompt: 500, Output: 2},
	}, simulator.Defaults(), steps)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range rows {
		fmt.Println(r.TTFT(), r.E2E())
	}
	fmt.Println(stats.Steps, "steps")
	// Output:
	// 20ms 45ms
	// 30ms 40ms
	// 3 steps
}
