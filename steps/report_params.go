package steps

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"

	"calrun/internal/report"
)

// params are the effective parameters of the simulator, with a column for
// each round that changed them.
func (b *reporter) params() *report.Params {
	var columns []map[string]string
	out := &report.Params{}
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
			columns = append(columns, values)
			out.Columns = append(out.Columns, "round "+strconv.Itoa(r.N))
			out.FittedOn = fitted
			break // one simulator a round: a plan that compares two has its own page of each
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
		for _, c := range columns {
			row.Values = append(row.Values, c[name])
		}
		out.Rows = append(out.Rows, row)
	}
	return out
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
