// Package schema holds the JSON schemas (draft-07) of what calrun reads and
// writes: [Plan] for editors that check a plan while it is written, [Result]
// for the result.json of a measured seed.
package schema

import _ "embed"

// Plan is the schema of plans with the builtin kinds, generated from their
// structs (`go test ./schema -update`). `calrun schema` prints the same, with
// the kinds of the program that it is part of.
//
//go:embed plan.v1.json
var Plan []byte

// Result is the schema of a seed's result.json: the template of the
// ground-truth experiments, and one key `calrun` for the rest.
//
//go:embed result.v1.json
var Result []byte
