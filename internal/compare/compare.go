package compare

import (
	"errors"

	"calrun/internal/trace"
)

// Comparison is what [Compare] yields.
type Comparison struct {
	Result Result
	Draws  Draws
	Detail Detail
}

// Compare sets simulated against measured points.
func Compare(measured, simulated []trace.Point, opt Options) (*Comparison, error) {
	return nil, errors.New("compare: not built yet")
}
