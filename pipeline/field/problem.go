package field

// Problem is what a step found wrong with its fields, at a path below `with` such as
// "workload.probes.lengths[2]".
type Problem struct {
	Field   string
	Message string
	Suggest string // what to do; may be empty
	Warning bool   // a doubt, not an error
}

// Error makes a FieldProblem an error: a union's UnmarshalJSON returns one to
// say where below the union it is.
func (p *Problem) Error() string {
	s := p.Message
	if p.Field != "" {
		s = p.Field + ": " + s
	}
	if p.Suggest != "" {
		s += ", " + p.Suggest
	}
	return s
}
