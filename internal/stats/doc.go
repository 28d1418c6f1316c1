// Package stats holds the statistics that calrun judges with: quantiles with
// distribution-free intervals, autocorrelation, block resampling, a trend
// test and distances of distributions.
//
// Every function is pure, states its formula and source, and takes its
// randomness as an argument. NaN means "undefined for these data" and is
// never an input that a function forgives.
//
// Start with [Quantile], [QuantileInterval] and [Plan].
package stats
