package compare

import "fmt"

// Options say how to compare. The zero value is the default.
type Options struct {
	FittedOn []string // points that the simulator's parameters were fitted on; "probes" is all of them
	Looks    int      // how often the gates that read the result may look; 0 is 1
	Scope    string   // "stable" (default) or "all": overloaded points too
	Draws    int      // replicates; 0 is 2000
	Seed     uint64   // of the resampling
	Failures float64  // share of failed requests above which a point is invalid; 0 is 0.01
}

// The two scopes.
const (
	ScopeStable = "stable"
	ScopeAll    = "all"
)

// checked is the options with what is left out filled in.
func (o Options) checked() (Options, error) {
	if o.Looks < 1 {
		o.Looks = 1
	}
	if o.Scope == "" {
		o.Scope = ScopeStable
	}
	if o.Draws < 1 {
		o.Draws = 2000
	}
	if o.Failures == 0 {
		o.Failures = 0.01
	}
	if o.Scope != ScopeStable && o.Scope != ScopeAll {
		return o, fmt.Errorf("compare: scope %q is not known; it is %s or %s", o.Scope, ScopeStable, ScopeAll)
	}
	return o, nil
}

// tail is the level on each side at which a gate with so many looks judges.
func (o Options) tail() float64 { return 0.025 / float64(o.Looks) }
