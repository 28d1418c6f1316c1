package compare

import "math"

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
