package kind

import (
	"fmt"
	"sort"

	"calrun/pipeline/field"
)

// Kinds are the kinds that a plan may use.
type Kinds struct {
	byName map[string]*Kind
	all    []*Kind
}

// NewKinds collects kinds. A kind without a name or New, two of one name, or
// a struct with a bad tag is a bug of the program: it panics.
func NewKinds(kinds ...Kind) *Kinds {
	ks := &Kinds{byName: make(map[string]*Kind, len(kinds))}
	for _, k := range kinds {
		switch {
		case k.Name == "" || k.Name == GateUses:
			panic(fmt.Sprintf("pipeline: a kind cannot be named %q", k.Name))
		case k.New == nil:
			panic(fmt.Sprintf("pipeline: kind %s has no New", k.Name))
		case ks.byName[k.Name] != nil:
			panic(fmt.Sprintf("pipeline: two kinds are named %s", k.Name))
		}
		k.shape, k.result = field.Describe(k.New()), field.TypeOf(k.Result)
		ks.byName[k.Name] = &k
		ks.all = append(ks.all, &k)
	}
	sort.Slice(ks.all, func(i, j int) bool { return ks.all[i].Name < ks.all[j].Name })
	return ks
}

// Lookup finds a kind by its name.
func (ks *Kinds) Lookup(name string) (*Kind, bool) {
	k, ok := ks.byName[name]
	return k, ok
}

// All returns the kinds, sorted by name.
func (ks *Kinds) All() []*Kind { return ks.all }

// GateUses is what `uses` says of a gate.
const GateUses = "gate"
