// Package compare sets measured against simulated: the same requests in the
// same order, so that every comparison is paired.
//
// [Compare] takes the points of a measurement and of a simulation and yields
// a [Result], whose JSON tree holds the names that assertions read
// ("ttft.p50.mape"), and its [Draws]: what those numbers would have been in
// other worlds. [Detail] is everything that a report or a diagnosis reads
// beyond that. A number that the data do not define is null and has an entry
// in [Draws].Doubts that says why; it is never left out in silence.
package compare
