package vidur

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"calrun/internal/trace"
)

// apart is the time between requests that are simulated alone. Vidur jumps
// from event to event, so a long time costs nothing; a request that takes
// longer is refused.
const apart = 10_000 * time.Second

// arrivals are the times at which Vidur is to see the requests: when the
// front end lets them through, or far apart.
func arrivals(reqs []trace.Request, frontEnd time.Duration, alone bool) []time.Duration {
	at := make([]time.Duration, len(reqs))
	for i, r := range reqs {
		at[i] = r.Due + frontEnd
		if alone {
			at[i] = time.Duration(i) * apart
		}
	}
	return at
}

// distinct are the requests of which no two have the same lengths, and where
// each of reqs is among them: on an idle engine, equal requests take equal
// times.
func distinct(reqs []trace.Request) (out []trace.Request, back []int) {
	at := map[[2]int]int{}
	for _, r := range reqs {
		key := [2]int{r.Prompt, r.Output}
		if _, seen := at[key]; !seen {
			at[key] = len(out)
			out = append(out, r)
		}
		back = append(back, at[key])
	}
	return out, back
}

// writeTrace writes the requests in the dialect's columns, in their order: the
// place in the file is Vidur's id of a request.
func writeTrace(path string, d Dialect, reqs []trace.Request, at []time.Duration) error {
	var b strings.Builder
	head, prefix := "Date,Time,PromptTokenCount,CompletionTokenCount", traceDate+","
	if d == Repository {
		head, prefix = "arrived_at,num_prefill_tokens,num_decode_tokens", ""
	}
	b.WriteString(head + "\n")
	for i, r := range reqs {
		b.WriteString(prefix + strconv.FormatFloat(at[i].Seconds(), 'f', -1, 64))
		fmt.Fprintf(&b, ",%d,%d\n", r.Prompt, r.Output)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("write Vidur's trace: %w", err)
	}
	return nil
}

// unclipped says which request Vidur would change without a word.
func unclipped(reqs []trace.Request, s Setup) error {
	for i, r := range reqs {
		switch {
		case r.Prompt < 1 || r.Output < 1:
			return fmt.Errorf("request %d has a prompt of %d tokens and asks for %d; Vidur would turn a 0 into a 1", i, r.Prompt, r.Output)
		case r.Prompt+r.Output > s.Longest:
			return fmt.Errorf("request %d has %d tokens in all, and Vidur would shorten the prompt of one above %d", i, r.Prompt+r.Output, s.Longest)
		}
	}
	return nil
}
