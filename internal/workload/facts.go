package workload

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// factsFile is the file of Facts in a workload's folder.
const factsFile = "workload.json"

// Facts are what a workload says of itself besides its requests.
type Facts struct {
	Plan     string `json:"plan"`           // who asked
	Seed     uint64 `json:"seed"`           // of the spec
	MaxTotal int    `json:"max_total"`      // tokens, 0 is no limit
	Over     Over   `json:"over,omitempty"` // what became of longer ones
	Counts   Counts `json:"counts"`         // how many that were
	Ended    string `json:"ended"`          // RFC 3339: when the measurement ended; ages are judged against it
	Dataset  string `json:"dataset,omitempty"`
	Asked    any    `json:"asked,omitempty"` // the workload as the plan asked for it
	Join     *Join  `json:"join,omitempty"`

	Doubts []string `json:"doubts,omitempty"` // what another tool's recording lacks
}

// Join says how two clocks of an imported measurement were joined: by the
// median of their offsets, in seconds around it.
type Join struct {
	Low    float64 `json:"low_s" doc:"smallest offset minus the median offset, seconds"`
	High   float64 `json:"high_s" doc:"largest offset minus the median offset, seconds"`
	Spread float64 `json:"spread_s" doc:"distance of the 5 % and 95 % quantiles of the offsets, seconds: arrivals are known no better"`
}

// WriteFacts writes workload.json into dir.
func WriteFacts(dir string, f Facts) error {
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("write workload: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, factsFile), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write workload: %w", err)
	}
	return nil
}

// ReadFacts reads what [WriteFacts] wrote.
func ReadFacts(dir string) (Facts, error) {
	var f Facts
	data, err := os.ReadFile(filepath.Join(dir, factsFile))
	if err != nil {
		return f, fmt.Errorf("read workload: %w", err)
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return f, fmt.Errorf("read workload %s: %w", filepath.Join(dir, factsFile), err)
	}
	return f, nil
}
