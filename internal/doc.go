// Package internal holds what calrun knows of the matter: requests, engines,
// simulators, statistics. Nothing in it knows of plans, steps or journals;
// package steps marries each of its rooms to the pipeline.
//
// All times inside are [time.Duration], ratios lie in [0, 1], lengths are
// tokens; seconds as numbers stand in files alone. Each room stands on some of
// those before it:
//
//	failpoint  places at which a test kills a run or fails its disk
//	trace      requests before and after, and their files
//	source     a computation named by the text of its code
//	stats      quantiles, intervals, resampling, distances
//	openai     the wire: bodies, events, what they prove
//	process    a child process with its whole tree             -> failpoint
//	profile    what an engine's steps cost, as measured
//	report     a finished run as a page and as a table
//	workload   what is asked: probes, rates, a replayed trace  -> trace
//	loadgen    sends a trace on schedule, stamps the answers   -> openai trace
//	engine     a real engine: ready, its facts, its counters   -> openai
//	simulator  the embedded simulator                          -> profile source trace
//	vidur      the real Vidur, driven from outside             -> process profile source trace
//	emulator   an engine with known truth behind the real API  -> profile simulator trace
//	compare    measured against simulated, with its doubts     -> stats trace
//	fit        the values at which the two come closest        -> source stats trace
//	selftest   what this machine can measure                   -> emulator engine loadgen profile stats trace
//
// Two more are for tests alone:
//
//	shared     public data beside the checkout
//	rooms      holds this list to the imports
package internal
