package compare

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
