package simulator

import (
	"slices"
	"testing"

	"calrun/internal/trace"

	"pgregory.net/rapid"
)

// drawConfig draws engines in which everything binds now and then.
func drawConfig(t *rapid.T) Config {
	c := Config{
		MaxNumSeqs:  rapid.IntRange(1, 12).Draw(t, "seqs"),
		BlockSize:   rapid.IntRange(1, 8).Draw(t, "block"),
		Chunked:     rapid.Bool().Draw(t, "chunked"),
		WholePrompt: rapid.Bool().Draw(t, "whole"),
		PrefixCache: rapid.Bool().Draw(t, "cache"),
		LookAhead:   rapid.Bool().Draw(t, "ahead"),
		Graphs:      rapid.SampledFrom([]int{0, 8}).Draw(t, "graphs"),
	}
	c.MaxTokens = c.MaxNumSeqs + rapid.IntRange(0, 40).Draw(t, "budget")
	if rapid.Bool().Draw(t, "bounded") {
		c.Blocks = rapid.IntRange(2, 30).Draw(t, "blocks")
	}
	return c
}

// drawContent draws a prompt that begins like others now and then.
func drawContent(t *rapid.T, prompt int) trace.Request {
	r := trace.Request{Prompt: prompt}
	if fork := rapid.IntRange(-1, prompt).Draw(t, "fork"); fork >= 0 {
		r.Content = &trace.Content{Tokens: rapid.SampledFrom([]int{1, 5}).Draw(t, "size")}
		for i := range prompt / r.Content.Tokens { // one of a few documents, and another from somewhere on
			r.Content.IDs = append(r.Content.IDs, 1)
			if i*r.Content.Tokens >= fork {
				r.Content.IDs[i] = rapid.Uint64Range(2, 3).Draw(t, "id")
			}
		}
	}
	return r
}

func TestSchedulerAgreesWithThePlainOne(t *testing.T) {
	agree(t, drawConfig)
}

// What requests share, and what is found again, depends on every block that
// was taken before: where blocks are scarce and prompts begin alike.
func TestSharingAgreesWithThePlainOne(t *testing.T) {
	agree(t, func(t *rapid.T) Config {
		c := drawConfig(t)
		c.PrefixCache, c.MaxNumSeqs = true, max(3, c.MaxNumSeqs)
		c.MaxTokens += 40
		c.BlockSize = rapid.IntRange(1, 4).Draw(t, "small block")
		c.Blocks = rapid.IntRange(40, 80).Draw(t, "scarce blocks")
		return c
	})
}

func agree(t *testing.T, draw func(*rapid.T) Config) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		cfg := draw(t)
		s, err := NewScheduler(cfg)
		if err != nil {
			t.Fatal(err)
		}
		n := newNaive(cfg)
		type life struct{ output, got int }
		lives := map[int]*life{}
		todo := rapid.IntRange(1, 30).Draw(t, "requests")
		for id, steps := 0, 0; id < todo || len(lives) > 0; steps++ {
			if steps > 20000 {
				t.Fatalf("no end in sight: %v", s)
			}
			for k := rapid.IntRange(0, 3).Draw(t, "arrivals"); k > 0 && id < todo; k-- {
				p, o := rapid.IntRange(1, 60).Draw(t, "prompt"), rapid.IntRange(1, 90).Draw(t, "output")
				keys := drawContent(t, p).Keys(cfg.BlockSize)
				if s.Add(id, p, o, keys) == nil {
					n.add(id, p, o, keys)
					lives[id] = &life{output: o}
				}
				id++
			}
			b := s.Next()
			n.next()
			if (b == nil) != (len(n.now) == 0) {
				t.Fatalf("INV-5: %v has batch %v, the plain one %v", s, b, n.now)
			}
			if b == nil {
				continue
			}
			checkStep(t, s, n, cfg, b)
			var yields []int
			s.Yields(func(id int) { yields = append(yields, id) })
			hits := n.now
			out := s.Done()
			tokens, last := n.done()
			var found []Found
			for _, w := range hits {
				if w.hit > 0 {
					found = append(found, Found{w.j.id, w.hit})
				}
			}
			if !slices.Equal(out.Found, found) {
				t.Fatalf("INV-8: found %v, plain %v", out.Found, found)
			}
			if !slices.Equal(yields, tokens) {
				t.Fatalf("tokens went to %v, plain %v", yields, tokens)
			}
			got := slices.Sorted(slices.Values(out.Last))
			if slices.Sort(last); !slices.Equal(got, last) {
				t.Fatalf("through are %v, plain %v", got, last)
			}
			for _, id := range tokens {
				lives[id].got++
				if first := slices.Contains(out.First, id); first != (lives[id].got == 1) {
					t.Fatalf("INV-1: request %d has %d tokens, first: %v", id, lives[id].got, first)
				}
			}
			for _, id := range got {
				if lives[id].got != lives[id].output {
					t.Fatalf("INV-1: request %d ended with %d of %d tokens", id, lives[id].got, lives[id].output)
				}
				delete(lives, id)
			}
		}
		if used, _ := s.Blocks(); used != 0 || s.Running() != 0 || s.Waiting() != 0 {
			t.Fatalf("INV-4: the idle scheduler holds something: %v", s)
		}
	})
}

func checkStep(t *rapid.T, s *Scheduler, n *naive, cfg Config, b *Batch) {
	tokens, context := n.batch()
	if b.Tokens() != tokens || b.Sequences() != len(n.now) || b.DecodeContext+b.PrefillContext() != context {
		t.Fatalf("batch is %+v, plain %d tokens, %d sequences, %d context", *b, tokens, len(n.now), context)
	}
	if b.Tokens() > cfg.MaxTokens || b.Sequences() > cfg.MaxNumSeqs {
		t.Fatalf("INV-6: %d tokens in %d sequences with %+v", b.Tokens(), b.Sequences(), cfg)
	}
	used, peak := s.Blocks()
	held := 0
	for _, b := range n.all {
		if b.refs > 0 {
			held++
		}
	}
	if used != held || peak < used || cfg.Blocks > 0 && used > cfg.Blocks-nullBlocks {
		t.Fatalf("INV-4: %d blocks (peak %d) held, plain %d, with %+v", used, peak, held, cfg)
	}
	if s.recalls() {
		idle := 0
		for i := s.unused.head; i != none; i = s.unused.runs[i].next {
			idle += s.unused.runs[i].n
		}
		if idle != s.room-used {
			t.Fatalf("INV-4: %d blocks are in the free list, %d of %d are held", idle, used, s.room)
		}
	}
	if s.Preemptions() != n.preemptions || s.Running() != len(n.running) || s.Waiting() != len(n.waiting) {
		t.Fatalf("%v (%d preempted), plain %d running %d waiting (%d preempted)", s, s.Preemptions(), len(n.running), len(n.waiting), n.preemptions)
	}
	if cfg.LookAhead {
		return // the books are ahead of the batch
	}
	longest := 0
	for slot := s.head; slot != none; slot = s.seqs[slot].next {
		if q := s.seqs[slot]; q.phase == decoding {
			longest = max(longest, q.lead+s.step)
		}
	}
	if b.MaxDecodeContext != longest {
		t.Fatalf("longest context is %d, want %d", b.MaxDecodeContext, longest)
	}
}

func TestRemove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := NewScheduler(drawConfig(t))
		if err != nil {
			t.Fatal(err)
		}
		alive := map[int]bool{}
		for id := range 20 {
			prompt := rapid.IntRange(1, 40).Draw(t, "prompt")
			if s.Add(id, prompt, rapid.IntRange(1, 40).Draw(t, "output"), drawContent(t, prompt).Keys(s.cfg.BlockSize)) == nil {
				alive[id] = true
			}
			if s.Next() != nil {
				for _, gone := range s.Done().Last {
					delete(alive, gone)
				}
			}
			if who := rapid.IntRange(0, id).Draw(t, "who"); s.Remove(who) != alive[who] {
				t.Fatalf("removing %d, alive %v, went the other way", who, alive[who])
			} else {
				delete(alive, who)
			}
			if n := s.Running() + s.Waiting(); n != len(alive) && !s.cfg.LookAhead {
				t.Fatalf("INV-1: %v, want %d requests", s, len(alive))
			}
		}
		for id := range alive {
			s.Remove(id)
		}
		if s.decided { // it is computed although nobody waits for it
			s.Next()
			if out := s.Done(); len(out.First)+len(out.Last) > 0 {
				t.Fatalf("INV-1: those that were removed came back: %+v", *out)
			}
		}
		if used, _ := s.Blocks(); used != 0 || s.Next() != nil || s.decodes != 0 || s.leads != 0 {
			t.Fatalf("INV-4: the emptied scheduler holds something: %v", s)
		}
	})
}

func TestConfigCheck(t *testing.T) {
	ok := Defaults()
	for _, c := range []struct {
		why  string
		edit func(*Config)
	}{
		{"no sequence at all", func(c *Config) { c.MaxNumSeqs = 0 }},
		{"vLLM refuses a budget below the sequences", func(c *Config) { c.MaxTokens = 255 }},
		{"blocks of nothing", func(c *Config) { c.BlockSize = 0 }},
		{"one block is the null block", func(c *Config) { c.Blocks = 1 }},
		{"Vidur knows no look-ahead", func(c *Config) { c.Policy, c.LookAhead = Sarathi, true }},
		{"nor graphs", func(c *Config) { c.Policy, c.Graphs = VLLM, 8 }},
		{"a graph of less than nothing", func(c *Config) { c.Graphs = -1 }},
		{"all blocks below the watermark", func(c *Config) { c.Policy, c.Watermark = VLLM, 1 }},
		{"a policy that is none", func(c *Config) { c.Policy = VLLM + 1 }},
		{"seen before it came", func(c *Config) { c.FrontEnd = -1 }},
	} {
		bad := ok
		if c.edit(&bad); bad.Check() == nil {
			t.Errorf("%s: %+v passed", c.why, bad)
		}
	}
	if err := ok.Check(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func TestPadding(t *testing.T) {
	for _, c := range []struct {
		why                  string
		graphs, tokens, want int
	}{
		{"no graphs, no padding", 0, 3, 0},
		{"captured as it is", 512, 2, 0},
		{"3 is computed as 4", 512, 3, 1},
		{"5 as 8", 512, 5, 3},
		{"every 8 up to 256", 512, 249, 7},
		{"every 16 from there", 512, 257, 15},
		{"beyond the largest graph a step is what it is", 512, 513, 0},
		{"the largest graph ends the last stride", 20, 17, 3},
	} {
		cfg := Config{Graphs: c.graphs}
		if got := cfg.padding(c.tokens); got != c.want {
			t.Errorf("%s: %d tokens are filled up by %d, want %d", c.why, c.tokens, got, c.want)
		}
	}
	for _, name := range []string{"v1", "sarathi", "vllm"} {
		if p, err := ParsePolicy(name); err != nil || p.String() != name {
			t.Errorf("%s is read as %v, %v", name, p, err)
		}
	}
	if _, err := ParsePolicy("orca"); err == nil {
		t.Error("a scheduler that is not there was read")
	}
}
