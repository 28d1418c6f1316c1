package steps

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"calrun/internal/report"
	"calrun/pipeline"
)

// params are the effective parameters of the simulator, with a column for
// each round that changed them.
func (b *reporter) params() *report.Params {
	var columns []map[string]string
	out := &report.Params{}
	between := map[string]string{} // what the last fit says of a parameter
	var known []map[string]string  // the same for each column
	for _, r := range b.State.Rounds {
		for _, name := range b.order(r.Steps) {
			st := r.Steps[name]
			if st.Kind != simulateKind.Name || st.Result == nil {
				continue
			}
			values, fitted, ok := pageParams(st.Result)
			if !ok {
				continue
			}
			if n := len(columns); n > 0 && reflect.DeepEqual(columns[n-1], values) {
				continue
			}
			columns, known = append(columns, values), append(known, maps.Clone(between))
			out.Columns = append(out.Columns, "round "+strconv.Itoa(r.N))
			out.FittedOn = fitted
			break // one simulator a round: a plan that compares two has its own page of each
		}
		if r.Route != nil && r.Route.Remedy != nil {
			b.intervals(r.Route.Remedy, between)
		}
	}
	if len(columns) == 0 {
		return nil
	}
	docs := paramDocTags()
	var names []string
	for _, c := range columns {
		for name := range c {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		row := report.Param{Name: name, Doc: docs[name]}
		for i, c := range columns {
			row.Values = append(row.Values, c[name]+known[i][name])
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}

// intervals notes between what a `tune` says that the parameters lie, as
// " (0.0021 to 0.0025)".
func (b *reporter) intervals(st *pipeline.StepState, between map[string]string) {
	if st.Kind != tuneKind.Name || st.Result == nil {
		return
	}
	var r TuneResult
	if err := json.Unmarshal(st.Result, &r); err != nil {
		b.doubt("the result of %s cannot be shown: %v", st.Name, err)
		return
	}
	for _, k := range r.Knobs {
		if r.Improved && k.Low != nil && k.High != nil {
			between[k.Name] = " (" + strconv.FormatFloat(*k.Low, 'g', 3, 64) + " to " + strconv.FormatFloat(*k.High, 'g', 3, 64) + ")"
		}
	}
}

// pageParams reads `params` of a result of `simulate`.
func pageParams(result json.RawMessage) (values map[string]string, fitted []string, ok bool) {
	var r struct {
		Params map[string]json.RawMessage `json:"params"`
	}
	if json.Unmarshal(result, &r) != nil || r.Params == nil {
		return nil, nil, false
	}
	values = map[string]string{}
	for name, raw := range r.Params {
		if name == "fitted_on" {
			if json.Unmarshal(raw, &fitted) != nil {
				fitted = nil
			}
			continue
		}
		if n, err := strconv.ParseFloat(string(raw), 64); err == nil {
			values[name] = strconv.FormatFloat(n, 'g', 4, 64)
			if n == float64(int64(n)) {
				values[name] = strconv.FormatInt(int64(n), 10)
			}
			continue
		}
		if text := briefJSON(raw); text != "null" {
			values[name] = text
		}
	}
	return values, fitted, true
}

// paramDocTags are the doc tags of [Params] by name.
func paramDocTags() map[string]string {
	docs := map[string]string{}
	t := reflect.TypeFor[Params]()
	for i := range t.NumField() {
		docs[t.Field(i).Tag.Get("yaml")] = t.Field(i).Tag.Get("doc")
	}
	return docs
}
