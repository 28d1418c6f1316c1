package compare

import "math"

// Draws are replicates of a result, in the shape that a gate judges: numbers
// of the result by their JSON pointer, each an operation over columns.
//
// Set "replicates" holds the bootstrap's draws, "null" the same re-centred to
// zero error (a perfect simulator at this n), "floor" the engine against
// itself where a replay was repeated; there the columns of other groups are
// NaN. NaN is "undefined in this draw".
type Draws struct {
	Leaves map[string]Leaf
	Sets   map[string]Matrix
	Doubts map[string]string // JSON pointer of a number or of what is around it → why it is not judged
}

// Leaf computes one number from columns: op is value, abs, mean, mean_abs,
// max_abs or scaled, the first column × (1 + the second).
type Leaf struct {
	Op   string
	Cols []int
}

// Matrix holds draws × columns, row after row.
type Matrix struct {
	Cols   int
	Values []float64
}

// table collects the columns of [Draws].
type table struct{ columns []column }

// column is one quantity over all draws; floor is nil where the engine was
// not set against itself.
type column struct{ value, null, floor []float64 }

// none stands for a quantity without a column.
const none = -1

func (t *table) add(c column) int {
	t.columns = append(t.columns, c)
	return len(t.columns) - 1
}

// sets lays the columns out row by row.
func (t *table) sets(draws int, out *Draws) {
	if len(t.columns) == 0 {
		draws = 0
	}
	floor := false
	for _, c := range t.columns {
		floor = floor || c.floor != nil
	}
	pick := map[string]func(column) []float64{
		"replicates": func(c column) []float64 { return c.value },
		"null":       func(c column) []float64 { return c.null },
	}
	if floor {
		pick["floor"] = func(c column) []float64 { return c.floor }
	}
	for name, of := range pick {
		m := Matrix{Cols: len(t.columns), Values: make([]float64, draws*len(t.columns))}
		for k, c := range t.columns {
			values := of(c)
			for d := range draws {
				v := math.NaN()
				if values != nil {
					v = values[d]
				}
				m.Values[d*m.Cols+k] = v
			}
		}
		out.Sets[name] = m
	}
}
