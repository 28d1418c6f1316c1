// Package pipeline runs calibration plans: a YAML file becomes a [Plan], a
// pure decider walks it round by round, and a journal remembers what was done.
// It knows steps, gates and journals, and nothing of engines or language
// models: those come in as [Kind] values.
//
// Start with [Load], which turns a file into a [Plan] or into all of its
// [Problems] at once. A [Decl] is one step of it, gates and remedies included;
// an [Expr] is one of its expressions, compiled and typed against the results
// of the steps that it reads. [Plan.Resolve] turns the `with` of a step into
// the JSON that [Kind.Decode] turns into a [Step].
//
// A [Runner] carries a plan out on this machine. What is to be done next is
// decided by [Decide], a pure function of the plan and of a [State]; what was
// done is an [Event] in the run's journal, and the state is the fold of the
// events by [State.Apply]. Runs and what they made lie in a [Store].
//
// The package is the front room; behind it, each on those before it:
//
//	suggest    the word that was probably meant
//	canonical  JSON with one text for one value
//	lock       exclusive files, host-wide names
//	store      objects under their digests, a chained journal    -> canonical lock
//	document   a YAML file as values with places, problems       -> canonical
//	field      struct tags: decoder, schema, types               -> document suggest
//	expr       expressions, typed, and what they read            -> field suggest
//	gate       draws, and a verdict on them                      -> expr
//	kind       the contract of a kind: Step, Runtime             -> field store
//	plan       a file loaded, its graph, its references          -> kind expr document
//	state      events, their fold, what is next; pure            -> plan gate
//
// What the authors of kinds need of them has its name here too.
package pipeline
