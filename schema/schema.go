// Package schema holds the JSON schemas (draft-07) of what calrun reads and
// writes: [Plan] for editors that check a plan while it is written, [Result]
// for the result.json of a measured seed, and the documents that calrun and
// other programs exchange. `calrun schema NAME` prints those of the program that
// it is part of; `go test ./schema -update` writes them anew.
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

// Run is the schema of what run, resume and show print with --json.
//
//go:embed run.v1.json
var Run []byte

// Event is the schema of a line of `run --events` and of `calrun events`.
//
//go:embed event.v1.json
var Event []byte

// Compare is the schema of what compare prints with --json.
//
//go:embed compare.v1.json
var Compare []byte

// Exec is the schema of what a program of exec reads and prints.
//
//go:embed exec.v1.json
var Exec []byte

// Step is the schema of what `calrun step KIND` reads and prints, by kind.
//
//go:embed step.v1.json
var Step []byte
