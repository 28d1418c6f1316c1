package openai

// Event is what one event of a stream says, as far as it matters here.
type Event struct {
	Done     bool   // the [DONE] that ends most streams
	Choice   bool   // it has at least one choice: an event without is about usage alone
	Text     bool   // a non-empty text, content, reasoning, refusal or tool delta
	TokenIDs int    // entries of the choice's token_ids, 0 if it has none
	Finish   string // finish_reason, empty while the stream goes on
	Usage    *Usage // nil if the event carries none
	Error    string // an error instead of an event: its message
}

// Usage is the server's own count.
type Usage struct {
	Prompt     int // prompt tokens
	Completion int // output tokens so far
	Cached     int // prompt tokens that came from the prefix cache
}
