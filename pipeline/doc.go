// Package pipeline runs calibration plans: a YAML file becomes a [Plan], a
// pure decider walks it round by round, and a journal remembers what was done.
// It knows steps, gates and journals, and nothing of engines or language
// models: those come in as [Kind] values.
//
// Start with [Load], which turns a file into a [Plan] or into all of its
// [Problems] at once. A [Runner] carries a plan out on this machine: the
// commands of state.Decide, a pure function of the plan and of a [State], one
// after the other or side by side. What was done is an [Event] in the run's
// journal, and the state is the fold of the events. Runs and what they made lie
// in a [Store]. [Preview] says what a run would do, [RunStep] runs one step
// alone.
//
// This package is the front room: the runner, and in face.go the names that
// authors of kinds and hosts of runs need of the rooms behind it. Each room
// stands on some of those before it:
//
//	suggest    the word that was probably meant
//	canonical  JSON with one text for one value
//	lock       exclusive files, host-wide names
//	secret     values that nobody may read, masked where anything is written
//	store      objects under their digests, a chained journal  -> canonical lock
//	pack       the archive in which a run travels
//	document   a YAML file as values with places, problems     -> canonical
//	field      struct tags: decoder, schema, types             -> canonical document secret suggest
//	expr       expressions, typed, and what they read          -> field suggest
//	gate       draws, and a verdict on them                    -> canonical expr
//	kind       the contract of a kind: Step, Runtime           -> canonical field lock secret store
//	plan       a file loaded, its graph, its references        -> canonical document expr field kind secret suggest
//	state      events, their fold, what is next; pure          -> gate kind plan secret
package pipeline
