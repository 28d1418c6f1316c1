package steps

import (
	"encoding/json"

	"calrun/internal/report"
	"calrun/pipeline"
)

// cause is what a `diagnose` step of a round found; nil if there is none, or
// none that worked.
func (b *reporter) cause(r *pipeline.Round) *report.Cause {
	for _, name := range b.order(r.Steps) {
		st := r.Steps[name]
		if st.Kind != diagnoseKind.Name || st.Result == nil {
			continue
		}
		var d DiagnoseResult
		if err := json.Unmarshal(st.Result, &d); err != nil {
			b.doubt("the result of %s cannot be shown: %v", name, err)
			continue
		}
		out := &report.Cause{Name: d.Cause, Sentence: d.Confidence}
		for _, e := range d.Evidence {
			s := report.Suspect{Hypothesis: e.Hypothesis, Cause: e.Cause, Explains: e.Explains, Low: e.Low, High: e.High, Enough: e.Enough, Note: e.Note}
			for _, v := range inNameOrder(e.Values) {
				s.Values = append(s.Values, report.Value{Name: v, Number: e.Values[v]})
			}
			out.Suspects = append(out.Suspects, s)
		}
		return out
	}
	return nil
}
