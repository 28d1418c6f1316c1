// Package simulator is the embedded discrete-event simulator of a serving
// engine: continuous batching, chunked prefill, paged KV cache, preemption by
// recomputation.
//
// [Run] takes requests and a step-time model and gives every request its times;
// [Stream] does the same for more requests than one wants to hold in memory.
// [Scheduler] is the core: it says what the next step computes and, when told
// that the step is over, who got a token. Run drives it by a virtual clock,
// the emulator by a real one. [Config] chooses how it schedules: as vLLM does,
// or, to explain what Vidur says, as Vidur's schedulers do.
//
// Steps that only decode and at which nobody comes or goes are taken together;
// that gives what deciding every one of them gives, to the bit.
//
// What is not simulated: answers that a later prompt repeats (a trace does not
// tell them), requests that end by a stop token (a trace tells the length), and
// speculative decoding.
//
// The clock counts whole nanoseconds and every step's time is rounded once, so
// that a run gives the same bytes on every machine. These laws hold and are
// tested under their numbers:
//
//	INV-1 conservation: every request ends once, with all its tokens or with an error; none is invented.
//	INV-2 causality: due ≤ first ≤ last, and nothing happens before due + front-end delay.
//	INV-3 clock: steps follow one another without overlap and never go back.
//	INV-4 blocks: what is held is the sum over the running sequences, a shared block once, never above the cache, and 0 at the end.
//	INV-5 work conservation: the engine never idles while a request waits.
//	INV-6 limits: no step holds more sequences or tokens than the configuration allows.
//	INV-7 determinism: the same input gives the same output.
//	INV-8 prefixes: what is found was computed before for the same content, is whole blocks, and is never all of a prompt.
package simulator

import "calrun/internal/profile"

// Batch is what one step computes.
type Batch = profile.Batch

// Chunk is a piece of a prompt in a [Batch].
type Chunk = profile.Chunk

// Model says how long a step takes.
type Model = profile.Model
