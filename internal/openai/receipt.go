package openai

import (
	"fmt"
	"time"
)

// Receipt follows one stream and knows when its tokens came.
//
// First token: the first event in which the server's token count grows; where
// events carry no count, the first non-empty text, content, reasoning or tool
// delta. An event that only names the role, an empty one, one with usage
// alone and [DONE] never count.
type Receipt struct {
	First, Last time.Duration // of the first and the last event that carried tokens; as given to Take
	Tokens      int           // output tokens
	FirstTokens int           // tokens of the first event, 0 if the server does not say
	Prompted    int           // prompt tokens as the server counted them, 0 if it does not say
	Cached      int           // of these, from the prefix cache
	Events      int           // events that carried tokens
	Finish      string        // finish_reason
	Done        bool          // [DONE] was seen
	Error       string        // an error event's message

	counted bool // the server counts on every event
	texts   bool // a token was known by its text: counts that come later are a summary
	usage   *Usage
	ids     int // token ids seen
}

// Take adds an event that was received at a time.
func (r *Receipt) Take(ev *Event, at time.Duration) {
	r.Done = r.Done || ev.Done
	if ev.Error != "" && r.Error == "" {
		r.Error = ev.Error
	}
	if ev.Finish != "" {
		r.Finish = ev.Finish
	}
	grown := r.grown(ev)
	if ev.Usage != nil {
		u := *ev.Usage
		r.usage = &u
	}
	if grown == 0 {
		return
	}
	if r.Events == 0 {
		r.First, r.FirstTokens = at, max(grown, 0)
	}
	r.Last = at
	r.Events++
}

// grown is the number of tokens that an event brought, -1 for some that the
// server did not count.
func (r *Receipt) grown(ev *Event) int {
	if !ev.Choice {
		return 0
	}
	before := r.ids
	r.ids += ev.TokenIDs
	if ev.Usage != nil && (r.counted || !r.texts) {
		r.counted = true
		had := 0
		if r.usage != nil {
			had = r.usage.Completion
		}
		return max(ev.Usage.Completion-had, 0)
	}
	if r.ids > before {
		r.texts = true
		return r.ids - before
	}
	if ev.Text {
		r.texts = true
		return -1
	}
	return 0
}

// End closes the stream: clean says that the connection ended as the protocol
// wants it. It settles the counts and returns what is wrong with the stream,
// nil if nothing is. estimated says that no server count came and events were
// counted instead.
func (r *Receipt) End(clean bool) (estimated bool, err error) {
	switch {
	case r.usage != nil:
		r.Tokens, r.Prompted, r.Cached = r.usage.Completion, r.usage.Prompt, r.usage.Cached
	case r.ids > 0:
		r.Tokens = r.ids
	default:
		r.Tokens, estimated = r.Events, true
	}
	if r.FirstTokens == 0 && r.Events > 0 && r.Events == r.Tokens {
		r.FirstTokens = 1
	}
	switch {
	case r.Error != "":
		return estimated, fmt.Errorf("the engine broke the stream off after %d tokens: %s", r.Tokens, r.Error)
	case r.Finish == "" && !r.Done:
		return estimated, fmt.Errorf("the stream was cut after %d tokens: neither a finish_reason nor [DONE] came", r.Tokens)
	case !clean && !r.Done:
		return estimated, fmt.Errorf("the connection was cut after %d tokens, before the end of the stream", r.Tokens)
	case r.Events == 0:
		return estimated, fmt.Errorf("the stream ended (finish_reason %q) without a token", r.Finish)
	}
	return estimated, nil
}
