// Package bench measures calrun as its user meets it, as a whole process: what
// a run of steps that do nothing costs, and what it costs with other runners.
// It holds tests alone.
//
//	make bench           among all benchmarks: starting, validating, listing, a step by exec
//	make bench-runners   the same graphs by make, ninja, go-task, doit and Snakemake
package bench
