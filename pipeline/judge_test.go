package pipeline

import (
	"encoding/json"
	"strings"
	"testing"

	"calrun/pipeline/plan"
)

// Replicates that a result speaks of and does not name are an error: without
// them a gate would pass on the estimate alone.
func TestReplicatesThatAreNotThere(t *testing.T) {
	for _, c := range []struct {
		why, result string
		want        string // "" is no replicates, and no error
	}{
		{"a result of a kind without replicates", `{"error": 0.1}`, ""},
		{"a kind that may leave them out", `{"error": 0.1, "draws": null}`, ""},
		{"another artefact without content", `{"error": 0.1, "detail": {"artefact": "diff", "digest": ""}}`, ""},
		{"an empty digest", `{"error": 0.1, "draws": {"artefact": "draws", "digest": ""}}`, "sim.draws stands for replicates and names none"},
		{"no digest", `{"error": 0.1, "again": {"artefact": "draws"}}`, "sim.again stands for replicates and names none"},
	} {
		j := &job{decl: &plan.Decl{Name: "verdict", Gate: &plan.Gate{Of: "sim"}}, step: StepState{Result: json.RawMessage(c.result)}}
		draws, err := drawsOf("sim", j.step.Result, j.open)
		if draws != nil || c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, %v, want %q", c.why, draws, err, c.want)
		}
		if c.want == "" {
			continue
		}
		if g := j.judge(t.Context()); g.Verdict != Inconclusive || g.Error == "" {
			t.Errorf("%s: verdict %s, error %q", c.why, g.Verdict, g.Error)
		}
	}
}
