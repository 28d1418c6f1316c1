package steps

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"calrun/internal/report"
	"calrun/pipeline"
)

// origin is where the numbers came from: what each step depended on
// beside its fields, the engine, and the files.
func (b *reporter) origin() []report.Section {
	s := b.State
	var out []report.Section
	if len(s.Rounds) == 0 {
		return out
	}
	last := s.Rounds[len(s.Rounds)-1]
	depends := report.Section{Title: "What steps depended on"}
	files := report.Section{Title: "Files, by their SHA-256"}
	for _, name := range b.order(last.Steps) {
		st := last.Steps[name]
		for _, id := range inNameOrder(st.ID) {
			depends.Facts = append(depends.Facts, report.Fact{Name: name + " " + id, Text: st.ID[id]})
		}
		for _, a := range topArtefacts(st.Result) {
			files.Facts = append(files.Facts, report.Fact{Name: name + "." + a.name, Text: digestHead(a.Digest)})
			if a.name == "measurement" {
				out = append(out, b.engine(name, a.Artefact)...)
			}
		}
	}
	for _, section := range []report.Section{depends, files} {
		if len(section.Facts) > 0 {
			out = append(out, section)
		}
	}
	return out
}

// provenance says which run it was: clock, places, versions.
func (b *reporter) provenance() []report.Fact {
	s := b.State
	facts := []report.Fact{
		{Name: "plan", Text: s.File},
		{Name: "opened", Text: pageStamp(s.Opened)},
		{Name: "closed", Text: pageStamp(s.Closed)},
	}
	if s.Active > 0 {
		facts = append(facts, report.Fact{Name: "worked for", Text: s.Active.Round(10 * time.Millisecond).String()})
	}
	if s.Version != "" {
		facts = append(facts, report.Fact{Name: "calrun", Text: s.Version})
	}
	for _, name := range inNameOrder(s.Inputs) {
		facts = append(facts, report.Fact{Name: "input " + name, Text: briefJSON(s.Inputs[name])})
	}
	for _, r := range s.Rounds {
		for _, name := range b.order(r.Steps) {
			if from := r.Steps[name].From; strings.HasPrefix(from, "run ") {
				facts = append(facts, report.Fact{Name: fmt.Sprintf("round %d %s", r.N, name), Text: "from " + from})
			}
		}
	}
	return facts
}

type namedArtefact struct {
	name string
	pipeline.Artefact
}

// topArtefacts lists the artefacts at the top of a result, by name.
func topArtefacts(result json.RawMessage) []namedArtefact {
	var fields map[string]json.RawMessage
	if json.Unmarshal(result, &fields) != nil {
		return nil
	}
	var out []namedArtefact
	for _, name := range inNameOrder(fields) {
		var a pipeline.Artefact
		if json.Unmarshal(fields[name], &a) == nil && a.Digest != "" && a.Of != "" {
			out = append(out, namedArtefact{name, a})
		}
	}
	return out
}

// engine is what the engine of a measurement said of itself.
func (b *reporter) engine(step string, a pipeline.Artefact) []report.Section {
	dir, err := b.Artefact(a)
	if err != nil {
		b.doubt("the measurement of %s cannot be read any more: %v", step, err)
		return nil
	}
	data, err := os.ReadFile(filepath.Join(dir, "engine.json"))
	if err != nil {
		return nil // an imported measurement may have no facts
	}
	var facts map[string]any
	if json.Unmarshal(data, &facts) != nil {
		b.doubt("engine.json of %s is not JSON", step)
		return nil
	}
	section := report.Section{Title: "Engine, as it states itself"}
	for _, name := range inNameOrder(facts) {
		raw, err := json.Marshal(facts[name])
		if err == nil && string(raw) != `""` {
			section.Facts = append(section.Facts, report.Fact{Name: name, Text: briefJSON(raw)})
		}
	}
	return []report.Section{section}
}

// stepDoubts passes on what steps and remedies said against themselves.
func (b *reporter) stepDoubts() {
	n := len(b.State.Rounds)
	if n == 0 {
		return
	}
	last := b.State.Rounds[n-1]
	for _, name := range b.order(last.Steps) {
		b.ownDoubts(name, last.Steps[name].Result)
	}
	for _, r := range b.State.Rounds {
		if r.Route != nil && r.Route.Remedy != nil {
			b.ownDoubts(r.Route.Run, r.Route.Remedy.Result)
		}
	}
}

func (b *reporter) ownDoubts(step string, result json.RawMessage) {
	var said struct {
		Doubts []string `json:"doubts"`
		Notes  []string `json:"notes"`
	}
	if json.Unmarshal(result, &said) != nil {
		return
	}
	for _, text := range slices.Concat(said.Doubts, said.Notes) {
		b.doubt("%s: %s", step, text)
	}
}

// pageStamp writes a moment, or a dash for none.
func pageStamp(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format(time.RFC3339)
}
