// Package emulator is an engine with known truth behind the real HTTP API: to
// a client it looks like vLLM, but its steps take the time that a formula
// gives them, and it writes down when every token was really there.
//
// It runs the scheduler of package simulator, and has terms that no simulator
// here has: jitter of steps and of the front end, a front end that serves one
// request at a time, a warm-up. A calibration that recovers its parameters has
// therefore met noise, and a shape that it cannot follow: it is no tautology.
// The acceptance tests of `tune` say by how much: with these terms switched off
// the same fits are wrong by about half as much at rates they have not seen.
//
// Steps lie on an absolute timeline. A step begins when the one before ended or
// when somebody arrived, and ends its own time later, whatever the clock of the
// machine does meanwhile: tokens may be written late, and how late stands in
// the truth, but lateness never adds up into the next step.
//
// Start with [New]; [Engine.Start] serves on a port, [Engine.Handler] without
// one. A [Replay] is the same engine without clients: it serves lists of
// requests as fast as they can be computed, to the nanosecond as it would have.
package emulator
