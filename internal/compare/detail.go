package compare

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// detailFile is the one file of a detail folder.
const detailFile = "diff.json"

// Detail is all that a comparison found: what a report draws and a diagnosis
// reads.
type Detail struct {
	Result     Result               `json:"result"`
	Cells      []Cell               `json:"cells"`  // of every point, also overloaded and fitted ones
	Curves     []Curve              `json:"curves"` // one a point and metric
	Doubts     map[string]string    `json:"doubts"`
	Stability  map[string]Stability `json:"stability"` // by sweep or replay point, measured side
	Looks      int                  `json:"looks"`
	Scope      string               `json:"scope"`
	Replicates int                  `json:"replicates"`
	Seed       uint64               `json:"seed"`
}

// Curve is the two distribution functions of a metric at a point: value in
// seconds at each probability, at most 200 of them.
type Curve struct {
	Point     string    `json:"point"`
	Metric    string    `json:"metric"`
	P         []float64 `json:"p"`
	Measured  []float64 `json:"measured"`
	Simulated []float64 `json:"simulated"`
}

// Stability is the evidence by which a point was called stable or not.
type Stability struct {
	Stable     bool    `json:"stable"`
	Block      float64 `json:"block"`  // samples of the in-flight count in one block
	Blocks     int     `json:"blocks"` // blocks over all seeds
	T          float64 `json:"t"`      // slope over its standard error
	Critical   float64 `json:"critical"`
	Rise       float64 `json:"rise"` // last half's mean over the first half's, minus 1
	Unfinished int     `json:"unfinished"`
	Reason     string  `json:"reason,omitempty"`
}

// WriteDetail writes diff.json into dir, which it makes.
func WriteDetail(dir string, d *Detail) error {
	data, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		return fmt.Errorf("write detail of a comparison: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write detail of a comparison: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, detailFile), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write detail of a comparison: %w", err)
	}
	return nil
}

// ReadDetail reads what [WriteDetail] wrote.
func ReadDetail(dir string) (*Detail, error) {
	data, err := os.ReadFile(filepath.Join(dir, detailFile))
	if err != nil {
		return nil, fmt.Errorf("read detail of a comparison: %w", err)
	}
	var d Detail
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("read detail of a comparison %s: %w", filepath.Join(dir, detailFile), err)
	}
	return &d, nil
}
