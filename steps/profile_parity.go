package steps

import (
	"cmp"
	"slices"
	"strconv"

	"calrun/internal/engine"
	"calrun/internal/profile"
	"calrun/internal/trace"
)

// parity compares settings as asked, as the engine states them, and as the
// simulator (or the profile it runs on) has them. What the simulator takes
// over from the engine is shown as its own. A parameter that was fitted may
// differ: that is what it was fitted for.
func (s *ProfileCheck) parity(points []trace.Point, f engine.Facts, prof *profile.Profile, set settled) profile.Parity {
	d, id := s.Deployment, prof.Identity
	var p profile.Parity
	p.Add(profile.Field{Name: "model", Asked: d.Model, Engine: f.Model, Simulator: id.Model}, profile.SameModel)
	p.Add(profile.Field{Name: "gpu", Asked: d.GPU, Engine: f.GPU, Simulator: id.GPU}, profile.SameGPU)
	p.Add(profile.Field{Name: "tensor_parallel", Asked: intText(d.TP), Engine: intPtrText(f.TP), Simulator: intText(id.TP)}, nil)
	p.Add(profile.Field{Name: "pipeline_parallel", Asked: intText(d.PP), Engine: intPtrText(f.PP), Simulator: "1"}, nil)
	p.Add(profile.Field{Name: "dtype", Asked: d.Dtype, Engine: f.Dtype, Simulator: id.Dtype}, profile.SameDtype)
	p.Add(profile.Field{Name: "attention", Asked: d.Attention, Engine: f.Attention, Simulator: id.Attention}, profile.SameAttention)
	dimensions(&p, d.Model, prof.Dims)
	size := profile.Field{Name: "block_size", Asked: intText(d.BlockSize), Engine: intPtrText(f.BlockSize)}
	if size.Asked != "" || size.Engine != "" {
		size.Simulator = intText(set.Config.BlockSize)
	}
	p.Add(size, nil)
	p.Add(profile.Field{Name: "gpu_memory_utilization", Asked: shareText(d.MemoryShare), Engine: sharePtrText(f.MemoryShare)}, nil)
	s.settled(&p, profile.Field{Name: "max_num_seqs", Asked: intPtrText(d.MaxNumSeqs), Engine: intPtrText(f.MaxNumSeqs), Simulator: intPtrText(set.Params.BatchSizeCap)})
	s.settled(&p, profile.Field{Name: "max_num_batched_tokens", Asked: intPtrText(d.MaxTokens), Engine: intPtrText(f.MaxTokens), Simulator: intPtrText(set.Params.ChunkSize)})
	s.settled(&p, profile.Field{Name: "kv_blocks", Engine: intPtrText(f.KVBlocks), Simulator: intPtrText(set.Params.KVBlocks)})
	chunked := set.Config.Chunked
	p.Add(profile.Field{Name: "chunked_prefill", Asked: boolText(d.Chunked), Engine: boolText(f.Chunked), Simulator: boolText(&chunked)}, nil)
	p.Add(profile.Field{Name: "policy", Asked: d.Policy, Engine: f.Policy, Simulator: "fcfs"}, nil)
	cache := profile.Field{Name: "prefix_caching", Asked: boolText(d.PrefixCache), Engine: boolText(f.PrefixCache)}
	if cache.Asked != "" || cache.Engine != "" {
		cache.Simulator = boolText(&set.Config.PrefixCache)
	}
	if set.Config.PrefixCache && !sharesContent(points) {
		cache.Note = "the trace says of no prompt what it shares (hash_ids), so that in the simulator none finds another's blocks"
	}
	p.Add(cache, nil)
	ahead := set.Config.LookAhead
	p.Add(profile.Field{Name: "async_scheduling", Asked: boolText(d.Async), Engine: boolText(f.Async), Simulator: boolText(&ahead)}, nil)
	p.Add(profile.Field{Name: "enforce_eager", Asked: boolText(d.EnforceEager), Engine: boolText(f.EnforceEager)}, nil)
	p.Add(profile.Field{Name: "max_model_len", Asked: intPtrText(d.MaxModelLen), Engine: intPtrText(f.MaxModelLen)}, nil)
	long := profile.Field{Name: "longest_request", Engine: intPtrText(f.MaxModelLen), Asked: "at least " + intText(longest(points))}
	p.Add(long, func(_, _ string) bool { return *f.MaxModelLen >= longest(points) })
	return p
}

// dimensions compares the model as it is published with what was profiled.
// What neither states is not shown.
func dimensions(p *profile.Parity, model string, of profile.Dims) {
	asked, _ := profile.Known(model)
	for _, x := range []struct {
		name      string
		asked, of int
	}{
		{"num_layers", asked.Layers, of.Layers},
		{"hidden_size", asked.Hidden, of.Hidden},
		{"num_heads", asked.Heads, of.Heads},
		{"num_kv_heads", asked.KVHeads, of.KVHeads},
		{"head_dim", asked.HeadDim, of.HeadDim},
		{"intermediate_size", asked.MLP, of.MLP},
	} {
		if x.asked != 0 || x.of != 0 {
			p.Add(profile.Field{Name: x.name, Asked: intText(x.asked), Simulator: intText(x.of)}, nil)
		}
	}
}

// settled adds a parameter that a fit may have moved.
func (s *ProfileCheck) settled(p *profile.Parity, f profile.Field) {
	if len(s.Params.FittedOn) == 0 {
		p.Add(f, nil)
		return
	}
	stated := f.Engine
	if stated == "" {
		stated = f.Asked
	}
	if stated != "" && f.Simulator != stated {
		f.Note = "fitted to " + f.Simulator + ", stated as " + stated
	}
	p.Add(f, func(a, b string) bool { return a == b || a == f.Simulator || b == f.Simulator })
}

// plant is what the KV cache must fit into; what the deployment says of card
// and type goes before what the engine and the profile say.
func (s *ProfileCheck) plant(points []trace.Point, f engine.Facts, prof *profile.Profile, set settled) profile.Plant {
	d := s.Deployment
	p := profile.Plant{
		TP: d.TP, PP: d.PP, Share: d.MemoryShare, Longest: longest(points),
		Engine: f.KVBlocks, Simulator: set.Params.KVBlocks, Fitted: len(s.Params.FittedOn) > 0,
		Dims: prof.Dims,
	}
	if dims, ok := profile.Known(d.Model); ok {
		p.Dims = dims
	}
	for _, name := range []string{d.Dtype, f.Dtype, prof.Identity.Dtype} {
		if p.Elem == 0 {
			p.Elem = profile.DtypeBytes(name)
		}
	}
	if size := cmp.Or(f.BlockSize, positive(d.BlockSize)); size != nil {
		p.BlockSize = *size
	}
	for _, name := range []string{d.GPU, f.GPU, prof.Identity.GPU} {
		if c, ok := profile.KnownCard(name); ok && p.Card.Name == "" {
			p.Card = c
		}
	}
	if f.GPUMemory != nil {
		p.Card.Bytes = *f.GPUMemory
		if p.Card.Name == "" {
			p.Card.Name, p.Card.Nominal = "a card of that memory", float64(*f.GPUMemory)/1e9
		}
	}
	return p
}

// longest is the most tokens of one request.
func longest(points []trace.Point) int {
	n := 0
	for _, p := range points {
		for _, r := range p.Runs {
			for _, q := range r.Requests {
				n = max(n, q.Prompt+q.Output)
			}
		}
	}
	return n
}

// A value as a text, "" where it is not stated.

func intText(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func intPtrText(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

func shareText(v float64) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

func sharePtrText(v *float64) string {
	if v == nil {
		return ""
	}
	return shareText(*v)
}

func boolText(b *bool) string {
	if b == nil {
		return ""
	}
	return strconv.FormatBool(*b)
}

// sharesContent says whether the requests say what their prompts begin with.
func sharesContent(points []trace.Point) bool {
	for _, p := range points {
		for _, r := range p.Runs {
			if slices.ContainsFunc(r.Requests, func(q trace.Request) bool { return q.Content != nil }) {
				return true
			}
		}
	}
	return false
}
