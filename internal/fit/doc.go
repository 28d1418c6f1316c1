// Package fit calibrates a simulator: it looks for the values of a few named
// knobs at which simulated latencies come closest to measured ones, and asks
// of each suspected cause how much of an error it would explain.
//
// It knows no simulator. A [Simulate] turns knob values into points, so that
// the embedded simulator, Vidur and any program behind `exec` are tuned by the
// same code. A [Problem] holds the measured points and the knobs, [Calibrate]
// yields a [Fit], [Attribute] yields one [Attribution] a [Hypothesis].
//
// A fit is read off a response surface round the best place found, and comes
// with intervals by a bootstrap, with the condition number of the slopes, and
// with [Advise] on what to measure where the points leave a knob open. Attributed
// causes are told apart by their [Excess], in units of noise.
//
// What is compared are the statistics that a single run determines well: P50
// and mean of TTFT, TPOT and E2E of each point, as ln(simulated/measured).
// Tails are left to the comparison: one run cannot pin them, and a knob that
// is fitted to a tail fits its noise. See [Residual] for the weights.
package fit
