package compare

import (
	"encoding/json"
	"fmt"
	"testing"
)

func TestSketch(t *testing.T) {
	w := world{rates: []float64{1, 3, 5, 6, 9}, seeds: 5, n: 300, factor: 1.1, jitter: 0.05, repeats: 3, probes: true}
	m, s := w.sides()
	c, err := Compare(m, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range c.Detail.Cells {
		if e.Metric == "tpot" && e.Stat != "p50" {
			continue
		}
		f := func(x *float64) string {
			if x == nil {
				return "-"
			}
			return fmt.Sprintf("%.3f", *x)
		}
		fmt.Println(e.Point, e.Metric, e.Stat, f(e.Measured), f(e.Simulated), "b", f(e.Bias), f(e.Low), f(e.High), e.N, e.Blocks, e.Doubt)
	}
	data, _ := json.Marshal(c.Result.Knee)
	fmt.Println(string(data), c.Result.Stable, c.Result.Overloaded)
	for name, p := range c.Result.Points {
		fmt.Println(name, p.State, p.Reason, p.Rho)
	}
	data, _ = json.Marshal(c.Result.TTFT)
	fmt.Println(string(data))
	data, _ = json.Marshal(c.Result)
	fmt.Println(len(data), len(c.Draws.Leaves), c.Draws.Sets["null"].Cols)
}
