package gate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"calrun/pipeline/expr"
)

// The sets of draws that a gate weighs.
const (
	setReplicates = "replicates" // what the errors may be
	setNull       = "null"       // a perfect simulator at this n
	setFloor      = "floor"      // the engine against itself
)

// slack keeps a share of exactly the limit on its right side in binary.
const slack = 1e-9

// overlay writes a leaf's value in a draw into the tree that the expression
// reads.
type overlay struct {
	leaf Leaf
	set  func(v float64)
}

// touched finds the leaves that the expression can read and returns how to
// change them in the tree. The tree belongs to the caller of [Judge] alone.
func touched(cond *expr.Expr, tree any, draws *Draws) []overlay {
	if draws == nil {
		return nil
	}
	var read [][]string // as they stand in the tree: a place counted from the end is counted from the start
	for _, c := range cond.Chains() {
		for _, r := range c.Read(expr.Env{Result: tree}) {
			read = append(read, expr.SplitPointer(r.Pointer))
		}
	}
	var out []overlay
	for _, pointer := range slices.Sorted(maps.Keys(draws.Leaves)) {
		path := expr.SplitPointer(pointer)
		for _, at := range read {
			if !reads(at, path) {
				continue
			}
			if set := setter(tree, path); set != nil {
				out = append(out, overlay{leaf: draws.Leaves[pointer], set: set})
			}
			break
		}
	}
	return out
}

// reads says whether a reading at a path takes in the number at another: that
// very one, or the list or map of numbers that it stands in.
func reads(at, path []string) bool {
	return len(path) >= len(at) && len(path) <= len(at)+1 && slices.Equal(at, path[:len(at)])
}

// setter returns a function that changes the value at a path, nil if the
// path is not there or holds no number.
func setter(tree any, path []string) func(float64) {
	if len(path) == 0 {
		return nil
	}
	at := tree
	for _, name := range path[:len(path)-1] {
		next, ok := expr.Member(at, name)
		if !ok {
			return nil
		}
		at = next
	}
	last := path[len(path)-1]
	if v, ok := expr.Member(at, last); !ok {
		return nil
	} else if _, number := v.(float64); !number {
		return nil
	}
	switch x := at.(type) {
	case map[string]any:
		return func(v float64) { x[last] = v }
	case []any:
		i, err := strconv.Atoi(last)
		if err != nil || i < 0 {
			return nil
		}
		return func(v float64) { x[i] = v }
	}
	return nil
}

// share is in how many of a set's draws the expression holds, and in how many
// something that it reads is undefined.
type share struct{ holds, undefined, draws int }

func (s share) of(n int) float64 { return float64(n) / float64(s.draws) }

// count evaluates the expression on every draw of a set.
func count(cond *expr.Expr, tree any, m Matrix, leaves []overlay) (share, error) {
	s := share{draws: m.Rows()}
	env := expr.Env{Result: tree}
	for i := range s.draws {
		row, whole := m.Row(i), true
		for _, l := range leaves {
			v := l.leaf.Value(row)
			whole = whole && !math.IsNaN(v) && !math.IsInf(v, 0)
			l.set(v)
		}
		if !whole {
			s.undefined++
			continue
		}
		ok, err := cond.Holds(env)
		if err != nil {
			return s, fmt.Errorf("draw %d: %w", i, err)
		}
		if ok {
			s.holds++
		}
	}
	return s, nil
}

// weigh gives the verdict from the draws: pass if the assertion holds in
// nearly all replicates; fail if in nearly none, while it would hold for a
// perfect simulator; else not sure, and why. A draw in which something is
// undefined counts against both.
func (j *Judgement) weigh(cond *expr.Expr, tree any, draws *Draws, leaves []overlay) error {
	shares := map[string]share{}
	j.Shares = map[string]float64{}
	for _, name := range []string{setReplicates, setNull, setFloor} {
		if draws.Sets[name].Rows() == 0 {
			continue
		}
		s, err := count(cond, tree, draws.Sets[name], leaves)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if name == setFloor && s.undefined == s.draws {
			continue // only a repeated replay has a floor: the engine was not set against itself in what this reads
		}
		shares[name], j.Shares[name] = s, s.of(s.holds)
	}
	level := tail / float64(j.Looks)
	rep, ok := shares[setReplicates]
	if !ok {
		j.Because("it has no replicates")
		return nil
	}
	if least := int(math.Ceil(1/level - slack)); rep.draws < least {
		j.Because(fmt.Sprintf("only %d replicates: %d looks need %d", rep.draws, j.Looks, least))
		return nil
	}
	null, hasNull := shares[setNull]
	floor, hasFloor := shares[setFloor]
	yes, no := rep.of(rep.holds), rep.of(rep.holds+rep.undefined)
	nullOK := hasNull && null.of(null.holds) >= nullShare-slack
	switch {
	case yes >= 1-level-slack:
		j.Verdict = Pass
	case no <= level+slack && nullOK:
		j.Verdict = Fail
	default:
		j.unsure(rep, level, hasNull, nullOK)
	}
	if hasFloor && floor.of(floor.holds) < nullShare-slack {
		j.Because(fmt.Sprintf("the engine passes this gate against itself in only %s", percent(j.Shares[setFloor])))
	}
	return nil
}

// unsure says why it is neither pass nor fail.
func (j *Judgement) unsure(rep share, level float64, hasNull, nullOK bool) {
	if rep.undefined > 0 {
		j.Because(fmt.Sprintf("undefined in %s of replicates", percent(rep.of(rep.undefined))))
	}
	if rep.of(rep.holds+rep.undefined) > level+slack {
		j.Because(fmt.Sprintf("borderline: holds in %s of replicates", percent(j.Shares[setReplicates])))
	}
	switch {
	case !hasNull:
		j.Because("there are no draws of a perfect simulator to hold it against")
	case !nullOK:
		j.Because(fmt.Sprintf("n too small: a perfect simulator would pass only %s", percent(j.Shares[setNull])))
	}
}

func percent(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }
