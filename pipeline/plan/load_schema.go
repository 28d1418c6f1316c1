package plan

import (
	"fmt"

	"calrun/pipeline/document"
)

// schema holds a step's `with` to the published schema. What the decoder has
// complained about already is not said twice.
func (l *loader) schema(d *Decl) {
	if d.faulty {
		return
	}
	found, err := d.Kind.Shape().Validate(d.with.root)
	if err != nil {
		l.Complain(document.Pos{}, "", fmt.Sprintf("the schema of kind %s: %v", d.Uses, err), "")
		return
	}
	for _, f := range found {
		l.Complain(d.with.root.Place(f.Field), document.Join(d.where()+".with", f.Field), f.Message, "")
	}
}
