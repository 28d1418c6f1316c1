package steps

import "calrun/pipeline"

// Builtin lists the kinds that calrun brings along, by name. A program with
// kinds of its own appends them to this list and hands all of them to the
// command.
func Builtin() []pipeline.Kind {
	return []pipeline.Kind{
		diagnoseKind,
		diffKind,
		execKind,
		hardwareRunKind,
		importKind,
		profileCheckKind,
		reprofileKind,
		simulateKind,
		tuneKind,
	}
}
