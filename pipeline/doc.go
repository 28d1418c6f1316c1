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
package pipeline
