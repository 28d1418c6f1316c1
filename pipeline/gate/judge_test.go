package gate

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"calrun/pipeline/expr"
	"calrun/pipeline/field"

	"pgregory.net/rapid"
)

// judgedType is the type of the results that these tests judge.
func judgedType() *field.Type {
	number := field.Type{Sort: field.Number}
	cell := field.NewObject(map[string]field.Type{"ape": number, "n": number})
	metric := field.NewObject(map[string]field.Type{"mape": number, "worst": number})
	t := field.NewObject(map[string]field.Type{
		"ttft": metric, "tpot": metric, "fits": {Sort: field.Bool}, "ratio": number, "zero": number,
		"cells":  {Sort: field.List, Elem: &cell},
		"points": {Sort: field.Map, Elem: &cell},
		"list":   {Sort: field.List, Elem: &number},
	})
	return &t
}

func assertionOf(t interface{ Fatalf(string, ...any) }, src string) *expr.Expr {
	e, flaws := expr.Compile(src, &expr.Scope{Result: judgedType(), Of: "x", Gate: true})
	if len(flaws) > 0 {
		t.Fatalf("%s: %+v", src, flaws)
	}
	return e
}

// normal are draws whose one column is spread evenly between two values.
func spread(rows int, from, to float64) Matrix {
	m := Matrix{Cols: 1}
	for i := range rows {
		m.Values = append(m.Values, from+(to-from)*(float64(i)+0.5)/float64(rows))
	}
	return m
}

func drawsOf(rep, null Matrix, more ...func(*Draws)) *Draws {
	d := &Draws{
		Leaves: map[string]Leaf{"/ttft/mape": {Op: "abs", Cols: []int{0}}, "/cells/0/ape": {Op: "abs", Cols: []int{0}}},
		Sets:   map[string]Matrix{"replicates": rep, "null": null},
		Doubts: map[string]string{},
	}
	for _, f := range more {
		f(d)
	}
	return d
}

const judgedResult = `{"ttft":{"mape":0.03,"worst":0.2},"tpot":{"mape":0.01,"worst":0.02},"fits":true,"ratio":2,"zero":0,
"cells":[{"ape":0.03,"n":10},{"ape":0.01,"n":12}],"points":{"rps-1":{"ape":0.03,"n":4}},"list":[1,2,3]}`

func TestJudge(t *testing.T) {
	const n = 2000
	floor := func(m Matrix) func(*Draws) { return func(d *Draws) { d.Sets["floor"] = m } }
	doubt := func(at, why string) func(*Draws) { return func(d *Draws) { d.Doubts[at] = why } }
	low, good, bad := spread(n, 0, 0.02), spread(n, 0.01, 0.04), spread(n, 0.06, 0.09)
	tests := []struct {
		name, expr string
		draws      *Draws
		looks      int
		want       Verdict
		reason     string // a piece of the reasons
	}{
		{"without draws it is two-valued: true", "ttft.mape < 0.05", nil, 1, Pass, ""},
		{"without draws it is two-valued: false", "ttft.worst < 0.05", nil, 1, Fail, ""},
		{"a bool", "fits && ratio == 2.0", nil, 1, Pass, ""},
		{"true in all replicates", "ttft.mape < 0.05", drawsOf(good, low), 1, Pass, ""},
		{"false in all, a perfect simulator would pass", "ttft.mape < 0.05", drawsOf(bad, low), 1, Fail, ""},
		{"false in all, but so would a perfect simulator", "ttft.mape < 0.05", drawsOf(bad, spread(n, 0, 0.082)), 1, Inconclusive, "a perfect simulator would pass only 61 %"},
		{"false in all and nothing to hold it against", "ttft.mape < 0.05", drawsOf(bad, Matrix{}), 1, Inconclusive, "no draws of a perfect simulator"},
		{"in between", "ttft.mape < 0.05", drawsOf(spread(n, 0, 0.0704), low), 1, Inconclusive, "borderline: holds in 71 % of replicates"},
		{"97.5 % is enough for one look", "ttft.mape < 0.05", drawsOf(spread(1000, 0.011, 0.051), low), 1, Pass, ""},
		{"and not for two", "ttft.mape < 0.05", drawsOf(spread(1000, 0.011, 0.051), low), 2, Inconclusive, "97.5 %"},
		{"the engine itself does not pass", "ttft.mape < 0.05", drawsOf(spread(n, 0, 0.0704), low, floor(spread(n, 0, 0.125))), 1, Inconclusive, "against itself in only 40 %"},
		{"a leaf that it does not read changes nothing", "tpot.mape < 0.05", drawsOf(bad, bad), 1, Pass, ""},
		{"a closure over cells", "all(cells, .ape < 0.05)", drawsOf(bad, low), 1, Fail, ""},
		{"a doubt on the value", "ttft.mape < 0.05", drawsOf(good, low, doubt("/ttft/mape", "one seed: tails not judged")), 1, Inconclusive, "one seed"},
		{"a doubt around the value", "ttft.mape < 0.05", drawsOf(good, low, doubt("/ttft", "nothing held out")), 1, Inconclusive, "nothing held out"},
		{"a doubt behind ||", "tpot.mape < 0.05 || ttft.mape < 0.05", drawsOf(good, low, doubt("/ttft/mape", "one seed")), 1, Inconclusive, "one seed"},
		{"a doubt elsewhere", "ttft.mape < 0.05", drawsOf(good, low, doubt("/ttft/worst", "one seed")), 1, Pass, ""},
		{"too few draws to tell", "ttft.mape < 0.05", drawsOf(spread(100, 0, 0.01), low), 4, Inconclusive, "only 100 replicates"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j, err := Judge("a", assertionOf(t, tt.expr), []byte(judgedResult), tt.draws, tt.looks)
			if err != nil {
				t.Fatal(err)
			}
			if j.Verdict != tt.want || !strings.Contains(strings.Join(j.Reasons, "; "), tt.reason) || tt.reason == "" && len(j.Reasons) > 0 {
				t.Errorf("%s because %q (shares %v), want %s because %q", j.Verdict, j.Reasons, j.Shares, tt.want, tt.reason)
			}
		})
	}
}

func TestJudgeFailsClosed(t *testing.T) {
	tests := []struct{ name, expr, result string }{
		{"missing", "ttft.mape < 0.05", `{"ttft":{"worst":1}}`},
		{"missing behind ||", "tpot.mape < 1 || ttft.mape < 0.05", `{"ttft":{},"tpot":{"mape":0.1}}`},
		{"missing behind &&", "ttft.mape < 0.05 && tpot.mape < 1", `{"ttft":{"mape":1},"tpot":{}}`},
		{"everything is missing", "ttft.mape < 0.05", `{}`},
		{"null", "ttft.mape < 0.05", `{"ttft":{"mape":null}}`},
		{"an empty list holds for all", "all(cells, .ape < 0.05)", `{"cells":[]}`},
		{"an element without the value", "all(cells, .ape < 0.05)", `{"cells":[{"ape":0.01},{"n":3}]}`},
		{"the mean of nothing", "sum(list) < 5", `{"list":[]}`},
		{"the length of what is not there", "len(list) == 0", `{}`},
		{"the length of null", "len(list) == 0", `{"list":null}`},
		{"a hole among what is counted", "len(list) < 5", `{"list":[1,null]}`},
		{"counted, and looked through as well", "len(cells) == 0 || all(cells, .ape < 0.05)", `{"cells":[]}`},
		{"looked through, and counted as well", "all(cells, .ape < 0.05) && len(cells) == 0", `{"cells":[]}`},
		{"looked through behind a condition", "len(list) == 0 ? true : mean(list) < 5", `{"list":[]}`},
		{"counted under another name, then looked through", "let c = cells; len(c) == 0 || all(c, .ape < 0.05)", `{"cells":[]}`},
		{"counted after a filter", "len(filter(cells, .ape > 0.05)) == 0", `{"cells":[]}`},
		{"counted after a cut", "len(list[0:1]) == 0", `{"list":[]}`},
		{"an element of what is counted", "len(cells) == 0 || cells[0].ape < 0.05", `{"cells":[]}`},
		{"a null among numbers", "max(list) < 5", `{"list":[1,null]}`},
		{"a missing point", `points["rps-2"].ape < 0.05`, `{"points":{"rps-1":{"ape":0}}}`},
		{"divided by zero", "ratio / zero > 1", `{"ratio":1,"zero":0}`},
		{"divided by zero, hidden by a comparison", "!(ratio / zero < 1)", `{"ratio":0,"zero":0}`},
		{"divided by zero, hidden by a function", "min(ratio / zero, 5) < 10", `{"ratio":1,"zero":0}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j, err := Judge("a", assertionOf(t, tt.expr), []byte(tt.result), nil, 1)
			if err == nil || j.Verdict == Pass {
				t.Errorf("%s, %v: want an error", j.Verdict, err)
			}
		})
	}
}

// An empty list that is there has a length: nothing else can be said of it.
func TestJudgeCountsNothing(t *testing.T) {
	for _, tt := range []struct {
		name, expr, result string
		want               Verdict
	}{
		{"none", "len(list) == 0", `{"list":[]}`, Pass},
		{"none, written as a pipe", "list | len() == 0", `{"list":[]}`, Pass},
		{"some", "len(list) == 0", `{"list":[1]}`, Fail},
		{"too few", "len(cells) >= 3", `{"cells":[]}`, Fail},
		{"an empty map", "len(points) == 0", `{"points":{}}`, Pass},
		{"beside another value", "len(list) == 0 && ttft.mape < 0.05", `{"list":[],"ttft":{"mape":0.01}}`, Pass},
		{"beside a list that is looked through", "all(cells, .n > 0) && len(list) == 0", `{"cells":[{"n":1}],"list":[]}`, Pass},
		{"what a filter leaves of some", "len(filter(cells, .ape > 0.05)) == 0", `{"cells":[{"ape":0.01}]}`, Pass},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j, err := Judge("a", assertionOf(t, tt.expr), []byte(tt.result), nil, 1)
			if err != nil || j.Verdict != tt.want {
				t.Errorf("%s, %v: want %s", j.Verdict, err, tt.want)
			}
		})
	}
}

// Whatever is wrong with a value that an assertion reads, in the result or
// in a draw, it does not pass.
func TestJudgeNeverPassesOnHoles(t *testing.T) {
	exprs := []string{
		"ttft.mape < 0.05", "ttft.mape < 0.05 || tpot.mape < 10", "!(ttft.mape >= 0.05)", "not (ttft.mape > 1) && fits",
		"all(cells, .ape < 0.05)", "none(cells, .ape > 0.05)", "count(cells, .ape > 0.05) == 0", "max(list) < 10", "len(cells) == 2 && len(list) < 9 && max(list) < 10", "ttft.mape / tpot.mape < 100",
		`points["rps-1"].ape < 1`,
	}
	rapid.Check(t, func(t *rapid.T) {
		src := rapid.SampledFrom(exprs).Draw(t, "expr")
		e := assertionOf(t, src)
		var tree map[string]any
		if err := json.Unmarshal([]byte(judgedResult), &tree); err != nil {
			t.Fatalf("%v", err)
		}
		chain := rapid.SampledFrom(e.Chains()).Draw(t, "chain")
		readings := chain.Read(expr.Env{Result: tree})
		path := expr.SplitPointer(rapid.SampledFrom(readings).Draw(t, "reading").Pointer)
		hole := rapid.SampledFrom([]string{"missing", "null", "empty"}).Draw(t, "hole")
		dig(tree, path, hole)
		raw, err := json.Marshal(tree)
		if err != nil {
			t.Fatalf("%v", err)
		}
		var draws *Draws
		if rapid.Bool().Draw(t, "draws") {
			draws = drawsOf(spread(200, 0, 0.01), spread(200, 0, 0.01))
		}
		if j, err := Judge("a", e, raw, draws, 1); j.Verdict == Pass {
			t.Fatalf("%s passes on %s (%v)", src, raw, err)
		}
	})
}

// dig makes a hole at a path.
func dig(tree any, path []string, hole string) {
	at := tree
	for _, name := range path[:len(path)-1] {
		at, _ = expr.Member(at, name)
	}
	last := path[len(path)-1]
	var with any
	if _, list := mustMember(at, last).([]any); list && hole == "empty" {
		with = []any{}
	}
	switch x := at.(type) {
	case map[string]any:
		x[last] = with
		if hole == "missing" {
			delete(x, last)
		}
	case []any:
		var i int
		for i = range x {
			if last == string(rune('0'+i)) {
				break
			}
		}
		x[i] = with
	}
}

func mustMember(v any, name string) any {
	m, _ := expr.Member(v, name)
	return m
}

// A draw in which a value is undefined counts neither for nor against.
func TestJudgeUndefinedDraws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bad := rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1)}).Draw(t, "bad")
		n := rapid.IntRange(20, 400).Draw(t, "undefined of 400")
		value := rapid.SampledFrom([]float64{0.01, 0.5}).Draw(t, "value")
		m := Matrix{Cols: 1}
		for i := range 400 {
			v := value
			if i < n {
				v = bad
			}
			m.Values = append(m.Values, v)
		}
		for _, src := range []string{"ttft.mape < 0.05", "!(ttft.mape >= 0.05)", "ttft.mape > 0.05"} {
			j, err := Judge("a", assertionOf(t, src), []byte(judgedResult), drawsOf(m, spread(400, 0, 0.01)), 1)
			if err != nil || j.Verdict != Inconclusive {
				t.Fatalf("%s: %s, %v: %d of 400 draws are undefined", src, j.Verdict, err, n)
			}
		}
	})
}
