package pipeline

// Draws are replicates of a result: what its numbers would have been in other
// worlds. A result that has some carries them in a field with the tag
// `artefact:"draws"`; a gate over such a result judges its expressions on
// every draw instead of on the estimate alone.
//
// A leaf is a number of the result, named by its JSON pointer
// ("/points/rps-0.5/ttft/p50/ape"). Its value in a draw is an operation over
// columns, so that a mean over cells is never stored beside the cells.
type Draws struct {
	Leaves map[string]Leaf   `json:"leaves"`
	Sets   map[string]Matrix `json:"sets"`   // "replicates", "null" (a perfect simulator at this n), "floor" (the engine against itself)
	Doubts map[string]string `json:"doubts"` // JSON pointer of a leaf or of what is around it → why it cannot be judged
}

// Leaf computes one number of a result from columns of a [Matrix].
type Leaf struct {
	Op   string `json:"op"` // value, abs, mean, mean_abs, max_abs
	Cols []int  `json:"cols"`
}

// Matrix holds draws × columns, row after row; NaN is "undefined in this draw".
type Matrix struct {
	Cols   int
	Values []float64
}
