// Package trace holds what a request is, before it is sent and after it came
// back, and the files that carry both.
//
// A [Request] is one row of a trace: when it is due and how long it is. A
// [Row] is the same request with the times that an engine or a simulator gave
// it. Requests and rows stand in a [Run] (one seed or one repeat) of a
// [Point] (one operating point). A measurement, a simulation and a workload
// are the same folder with more or fewer files in it: start with [ReadPoints]
// and [WritePoints].
//
// All times are durations since the start of their run. Files carry seconds.
package trace

import "time"

// Request is one request of a workload.
type Request struct {
	ID     int           // its place in the trace, from 0
	Due    time.Duration // planned arrival
	Prompt int           // prompt tokens
	Output int           // output tokens asked for

	// Content is what the prompt begins with; nil is nothing that another
	// prompt has. It is never changed.
	Content *Content
}

// Row is a request and what became of it. A row that failed has Error set;
// its Sent, First and Last are zero where they never happened.
type Row struct {
	Request
	Sent        time.Duration // last byte of the request handed to the kernel; a simulator sets it to Due
	First       time.Duration // first token received
	Last        time.Duration // last token received
	Prompted    int           // prompt tokens as the server counted them
	Tokens      int           // output tokens as the server counted them (n)
	FirstTokens int           // tokens that the first event carried; above 1 TPOT is too small
	Cached      int           // prompt tokens served from the prefix cache, where known
	Estimated   bool          // Tokens counted by events, not by the server
	Status      int           // HTTP status, 0 if none came (always 0 when simulated)
	Error       string        // empty if the request completed
}

// OK says whether the request completed.
func (r Row) OK() bool { return r.Error == "" }

// TTFT is the time to first token as its user waits for it: First − Due.
func (r Row) TTFT() time.Duration { return r.First - r.Due }

// TTFTSent is First − Sent: as a client without a schedule counts it.
func (r Row) TTFTSent() time.Duration { return r.First - r.Sent }

// E2E is Last − Due.
func (r Row) E2E() time.Duration { return r.Last - r.Due }

// E2ESent is Last − Sent.
func (r Row) E2ESent() time.Duration { return r.Last - r.Sent }

// TPOT is the time per output token after the first,
// (Last − First) / (n − 1). It is undefined for n < 2.
func (r Row) TPOT() (tpot time.Duration, ok bool) {
	if r.Tokens < 2 {
		return 0, false
	}
	return (r.Last - r.First) / time.Duration(r.Tokens-1), true
}

// Late is how far behind its plan the generator sent the request: Sent − Due.
func (r Row) Late() time.Duration { return r.Sent - r.Due }
