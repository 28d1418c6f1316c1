package profile

import (
	"fmt"
	"math"
)

// MaxOutside is the share of a point's requests, or of simulated steps, that
// may lie outside a profile that still covers them: P99 is the furthest
// quantile that is ever compared.
const MaxOutside = 0.01

// Reach is how far a profile was measured. 0 is no bound.
type Reach struct {
	Tokens  int // in one step
	Chunk   int // prefill tokens of one sequence in one step
	Total   int // prefill tokens and their context
	Context int // of a decoding sequence
	Seqs    int // sequences in one step
}

// Reach returns how far the profile was measured: the smallest of what its
// tables reach.
func (p *Profile) Reach() Reach {
	if p.Step != nil {
		c := p.Covers
		return Reach{Tokens: c.Prompt, Chunk: c.Prompt, Total: c.Context, Context: c.Context, Seqs: c.Batch}
	}
	var r Reach
	least := func(to *int, t *Table, axis string) {
		if g, ok := t.Range(axis); ok && (*to == 0 || int(g.Max) < *to) {
			*to = int(g.Max)
		}
	}
	for _, t := range p.Tables {
		switch {
		case t.Op == "attention":
			least(&r.Chunk, t, "prefill_chunk")
			least(&r.Context, t, "kv_decode")
			least(&r.Seqs, t, "n_decode")
			least(&r.Total, t, "kv_prefill")
		case t.Op == "attn_prefill":
			least(&r.Chunk, t, colChunk)
			r.Total = reach(t)
		case t.Op == "attn_decode":
			least(&r.Seqs, t, colBatch)
			least(&r.Context, t, colKV)
		case t.Family == MLP:
			least(&r.Tokens, t, t.Axes[0])
			if t.Axes[0] == "sequences" {
				least(&r.Seqs, t, "sequences")
			}
		}
	}
	return r
}

// Length is a request as a profile must cover it.
type Length struct{ Prompt, Output int }

// Demand is what a workload asks of a profile.
type Demand struct {
	Points    map[string][]Length // by name of the point
	MaxTokens int                 // token budget of one step; 0 if not known
	MaxSeqs   int                 // most sequences in one step; 0 if not known
}

// Cover compares the workload with the profile's reach: each point's share of
// requests that leave it, and whether the engine's caps do.
func Cover(r Reach, d Demand) []Finding {
	out := []Finding{r.requests(d)}
	cap := func(check string, have, most int, what string) {
		if most == 0 || have == 0 {
			return
		}
		f := Finding{Check: check, OK: true, Seen: fmt.Sprintf("the engine may put %d %s into a step", have, what), Allowed: fmt.Sprint(most)}
		if have > most {
			f.Doubt = true
			f.Advice = fmt.Sprintf("steps beyond %d are extrapolated; the share of simulated steps outside says whether that matters", most)
		}
		out = append(out, f)
	}
	cap("covered.step_tokens", d.MaxTokens, r.Tokens, "tokens")
	cap("covered.batch", d.MaxSeqs, r.Seqs, "sequences")
	return out
}

// requests finds the point with the largest share of requests outside.
func (r Reach) requests(d Demand) Finding {
	f := Finding{
		Check: "covered.requests", OK: true,
		Allowed: fmt.Sprintf("chunks to %s tokens, decode contexts to %s, prefills ending by %s", bound(r.Chunk), bound(r.Context), bound(r.Total)),
	}
	n, longest, worst := 0, Length{}, ""
	for _, name := range sortedKeys(d.Points) {
		outside := 0
		for _, l := range d.Points[name] {
			n++
			if l.Prompt+l.Output > longest.Prompt+longest.Output {
				longest = l
			}
			if r.leaves(l, d.MaxTokens) {
				outside++
			}
		}
		if share := float64(outside) / math.Max(1, float64(len(d.Points[name]))); share > f.Share {
			f.Share, worst = share, name
		}
	}
	f.Seen = fmt.Sprintf("%d requests, the longest %d + %d tokens", n, longest.Prompt, longest.Output)
	if f.Share > 0 {
		f.Seen += fmt.Sprintf("; of point %s %.1f %% are outside", worst, 100*f.Share)
		f.Advice = "profile longer sequences, or shorten the workload (max_total)"
		f.OK, f.Doubt = f.Share <= MaxOutside, f.Share <= MaxOutside
	}
	return f
}

// leaves says whether any step of a request alone is beyond the reach.
func (r Reach) leaves(l Length, budget int) bool {
	chunk := l.Prompt
	if budget > 0 {
		chunk = min(chunk, budget)
	}
	over := func(n, most int) bool { return most > 0 && n > most }
	// The last step reads all but the token that it computes.
	return over(chunk, r.Chunk) || over(l.Prompt, r.Total) || l.Output > 1 && over(l.Prompt+l.Output-2, r.Context)
}

func bound(n int) string {
	if n == 0 {
		return "any number of"
	}
	return fmt.Sprint(n)
}
