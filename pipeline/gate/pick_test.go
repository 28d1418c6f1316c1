package gate

import (
	"testing"

	"calrun/pipeline/expr"
)

// A cell that is picked by its place must be judged on its own draws and
// doubts, however the place is written: the estimate alone is no ground to
// pass on.
func TestWhatIsPickedIsJudgedOnItsDraws(t *testing.T) {
	const n = 2000
	wide, low := spread(n, 0, 0.0704), spread(n, 0, 0.02)
	draws := func(doubts map[string]string) *Draws {
		d := drawsOf(wide, low)
		d.Leaves = map[string]Leaf{"/cells/1/ape": {Op: "abs", Cols: []int{0}}}
		d.Doubts = doubts
		return d
	}
	for _, src := range []string{
		"cells[1].ape < 0.05",
		"cells[-1].ape < 0.05",
		"last(cells).ape < 0.05",
		"reverse(cells)[0].ape < 0.05",
		"filter(cells, .n == 12.0)[0].ape < 0.05",
		"filter(cells, .n == 12.0)[0]?.ape < 0.05",
		"first(filter(cells, .n == 12.0)).ape < 0.05",
		"find(cells, .n == 12.0).ape < 0.05",
		"cells[1:][0].ape < 0.05",
		"cells[1:2][0].ape < 0.05",
		"sortBy(cells, -.n)[0].ape < 0.05",
		"max(map(cells, .ape)) < 0.05",
		"let c = cells; c[-1].ape < 0.05",
		"let c = true ? cells : cells; c[1].ape < 0.05",
		"let c = [cells[1]]; c[0].ape < 0.05",
		"map(cells, #)[1].ape < 0.05",
		"let m = map(cells, #); last(m).ape < 0.05",
		"map(cells, true ? # : #)[1].ape < 0.05",
		"let c = filter(cells, .n == 12.0); c[0].ape < 0.05",
		"all(cells[1:], .ape < 0.05)",
		"any(filter(cells, .n == 12.0), .ape < 0.05)",
		"mean(map(cells[-1:], .ape)) < 0.05",
		"reduce(cells, #acc + .ape, 0.0) < 0.05",
		"sum(cells, .ape) < 0.05",
		"one(cells, .n == 12.0 && .ape < 0.05)",
		"count(cells, .ape < 0.05) == 2",
		"take(reverse(cells), 1)[0].ape < 0.05",
		`groupBy(cells, "a")["a"][1].ape < 0.05`,
		"findLast(cells, .n > 1.0).ape < 0.05",
		"(true ? cells[1] : cells[0]).ape < 0.05",
		"(true ? cells : cells)[1].ape < 0.05",
		"[cells[1]][0].ape < 0.05",
		"{\"a\": cells[1]}.a.ape < 0.05",
		"cells | filter(.n == 12.0) | first() | get(\"ape\") < 0.05",
		"(ttft.mape < 1.0 and true ? last(cells) : cells[0]).ape < 0.05",
	} {
		t.Run(src, func(t *testing.T) {
			e, flaws := expr.Compile(src, &expr.Scope{Result: judgedType(), Of: "x", Gate: true})
			if len(flaws) > 0 {
				return // refusing it is as good
			}
			j, err := Judge("a", e, []byte(judgedResult), draws(nil), 1)
			if err == nil && j.Verdict == Pass {
				t.Errorf("it passes on its estimate: %+v; chains %+v", j, e.Chains())
			}
			j, err = Judge("a", e, []byte(judgedResult), draws(map[string]string{"/cells/1": "one seed"}), 1)
			if err == nil && j.Verdict != Inconclusive {
				t.Errorf("a doubtful cell is judged: %+v", j)
			}
		})
	}
}
