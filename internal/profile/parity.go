package profile

// Field is one setting as the three sides have it; "" is not stated.
type Field struct {
	Name      string `json:"name"`
	Asked     string `json:"asked,omitempty" doc:"by the deployment"`
	Engine    string `json:"engine,omitempty" doc:"as the engine states it"`
	Simulator string `json:"simulator,omitempty" doc:"as the simulator, or the profile it runs on, has it"`
	Same      bool   `json:"same" doc:"no two sides that state it differ"`
	Known     bool   `json:"known" doc:"at least two sides state it"`
	Note      string `json:"note,omitempty"`
}

// Parity is a configuration compared field by field.
type Parity struct {
	Same   bool    `json:"same" doc:"every field that two sides state is the same on both"`
	Fields []Field `json:"fields" doc:"each setting: asked, engine, simulator, same"`
}

// Add compares one setting. What is not stated is no mismatch, and is shown.
// equal nil compares the texts.
func (p *Parity) Add(f Field, equal func(a, b string) bool) {
	if equal == nil {
		equal = func(a, b string) bool { return a == b }
	}
	var sides []string
	for _, s := range []string{f.Asked, f.Engine, f.Simulator} {
		if s != "" {
			sides = append(sides, s)
		}
	}
	f.Known, f.Same = len(sides) > 1, true
	for i := range sides {
		for _, other := range sides[i+1:] {
			f.Same = f.Same && equal(sides[i], other)
		}
	}
	if len(p.Fields) == 0 {
		p.Same = true
	}
	p.Same = p.Same && f.Same
	p.Fields = append(p.Fields, f)
}
