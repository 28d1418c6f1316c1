//go:build race

package compare

// raced says that the race detector is on: everything takes ten times as long,
// and statistics are none of its business.
const raced = true
