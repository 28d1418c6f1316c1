package loadgen

import (
	"encoding/json"
	"time"

	"calrun/internal/trace"
)

// reportFile is a Report as a file has it: times in seconds.
type reportFile struct {
	Stamps    string     `json:"stamps"`
	Window    float64    `json:"window_s"`
	Late      spreadFile `json:"late"`
	Lag       spreadFile `json:"self_lag"`
	Peak      int        `json:"peak_in_flight"`
	Share     float64    `json:"cpu_share"`
	ClockStep float64    `json:"clock_step_s"`
	Completed int        `json:"completed"`
	Failed    int        `json:"failed"`
	Mismatch  int        `json:"mismatched"`
	Bunched   int        `json:"bunched"`
}

type spreadFile struct {
	P50 float64 `json:"p50_s"`
	P99 float64 `json:"p99_s"`
	Max float64 `json:"max_s"`
}

// MarshalJSON writes times in seconds.
func (r Report) MarshalJSON() ([]byte, error) {
	return json.Marshal(reportFile{
		r.Stamps, r.Window.Seconds(), r.Late.file(), r.Lag.file(), r.Peak, r.Share,
		r.ClockStep.Seconds(), r.Completed, r.Failed, r.Mismatch, r.Bunched,
	})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Report) UnmarshalJSON(data []byte) error {
	var f reportFile
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	*r = Report{
		f.Stamps, trace.FromSeconds(f.Window), f.Late.spread(), f.Lag.spread(), f.Peak, f.Share,
		trace.FromSeconds(f.ClockStep), f.Completed, f.Failed, f.Mismatch, f.Bunched,
	}
	return nil
}

func (s Spread) file() spreadFile {
	return spreadFile{s.P50.Seconds(), s.P99.Seconds(), s.Max.Seconds()}
}

func (f spreadFile) spread() Spread {
	at := func(s float64) time.Duration { return trace.FromSeconds(s) }
	return Spread{at(f.P50), at(f.P99), at(f.Max)}
}
