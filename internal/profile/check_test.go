package profile

import (
	"math"
	"strings"
	"testing"
	"time"

	"calrun/internal/shared"
)

func TestSameNames(t *testing.T) {
	for _, c := range []struct {
		why  string
		same func(a, b string) bool
		a, b string
		want bool
	}{
		{"as the driver says it", SameGPU, "A100-80GB", "NVIDIA A100-SXM4-80GB", true},
		{"two memory sizes", SameGPU, "A100-80GB", "A100-40GB", false},
		{"no memory size states none", SameGPU, "a100", "A100-80GB", true},
		{"spaces", SameGPU, "RTX4090", "NVIDIA GeForce RTX 4090", true},
		{"another card", SameGPU, "A100-80GB", "a800", false},
		{"edition of a workstation card", SameGPU, "RTXPRO6000", "NVIDIA RTX PRO 6000 Blackwell Server Edition", true},
		{"Meta's prefix", SameModel, "meta-llama/Meta-Llama-3-70B", "meta-llama/Llama-3-70B", true},
		{"a minor version is another model", SameModel, "meta-llama/Llama-3.1-8B", "meta-llama/Llama-3-8B", false},
		{"short for bfloat16", SameDtype, "torch.bfloat16", "bf16", true},
		{"two halves are not one", SameDtype, "float16", "bfloat16", false},
		{"vLLM's name does not state the version", SameAttention, "flash-attention-2", "FLASH_ATTN", true},
		{"two versions", SameAttention, "flash-attention-2", "flash_attn_3", false},
		{"Vidur's enum", SameAttention, "flashinfer", "AttentionBackend.FLASHINFER", true},
		{"two kernels", SameAttention, "flash-attention-2", "flashinfer", false},
	} {
		if got := c.same(c.a, c.b); got != c.want {
			t.Errorf("%s: %q and %q: %v", c.why, c.a, c.b, got)
		}
	}
}

// By hand: 320 GB − 140 GB − 4 GB ≈ 176 GB on four A100, and no room on one.
func TestFitByHand(t *testing.T) {
	dims, ok := Known("meta-llama/Meta-Llama-3-70B")
	if !ok {
		t.Fatal("the model is not known")
	}
	card, ok := KnownCard("A100-80GB")
	if !ok {
		t.Fatal("the card is not known")
	}
	p := Plant{Dims: dims, Elem: 2, Card: card, TP: 4, PP: 1, Share: 0.9, BlockSize: 16, Longest: 4224}
	kv := Fit(p)
	if math.Abs(*kv.EstimateGB-176) > 2 || *kv.TotalGB != 320 || math.Abs(*kv.WeightsGB-140) > 2 {
		t.Errorf("total %v, weights %v, estimate %v GB; the seed has 320, 140, 176", *kv.TotalGB, *kv.WeightsGB, *kv.EstimateGB)
	}
	// 2 × 80 layers × 8 heads × 128 × 2 bytes, as Vidur counts 81920 per card of four.
	if dims.KVBytes(2) != 4*81920 {
		t.Errorf("a token takes %d bytes", dims.KVBytes(2))
	}
	if !kv.Fits || !kv.Known {
		t.Errorf("does not fit: %s", kv.Why)
	}
	p.TP = 1
	if kv := Fit(p); kv.Fits || !strings.Contains(kv.Why, "pipeline_parallel") || !strings.Contains(kv.Why, "do not fit") {
		t.Errorf("70B on one card: fits %v, %s", kv.Fits, kv.Why)
	}
}

func TestAge(t *testing.T) {
	end := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	for _, c := range []struct {
		why      string
		measured time.Time
		ended    time.Time
		most     time.Duration
		ok       bool
	}{
		{"younger than the limit", end.Add(-10 * day), end, 30 * day, true},
		{"older than the limit", end.Add(-31 * day), end, 30 * day, false},
		{"measured after the run, as a reprofile is", end.Add(day), end, 30 * day, true},
		{"long after the run is as far away as long before", end.Add(60 * day), end, 30 * day, false},
		{"no limit", end.Add(-999 * day), end, 0, true},
		{"no date and no limit", time.Time{}, end, 0, true},
		{"no date under a limit fails closed", time.Time{}, end, 30 * day, false},
		{"no end of the run under a limit fails closed", end, time.Time{}, 30 * day, false},
	} {
		if f := Age(c.measured, c.ended, c.most); f.OK != c.ok {
			t.Errorf("%s: %+v", c.why, f)
		} else if !f.OK && f.Advice == "" {
			t.Errorf("%s: no advice", c.why)
		}
	}
}

func TestValues(t *testing.T) {
	one := func(times ...float64) *Profile {
		tb := &Table{File: "dense.csv", Op: "qkv_proj", Family: MLP, PerLayer: 1, Axes: []string{"tokens"}}
		for i, v := range times {
			tb.Rows = append(tb.Rows, Row{At: []float64{float64(1 + i)}, Time: v, Line: i + 2})
		}
		return &Profile{Tables: []*Table{tb}}
	}
	twice := one(1, 1.5)
	twice.Tables[0].Rows[1].At[0] = 1
	for _, c := range []struct {
		why       string
		p         *Profile
		ok, doubt bool
		says      string
	}{
		{"rising times", one(1, 2, 3), true, false, ""},
		{"a slight fall is a kernel", one(1, 2, 1.9), true, false, ""},
		{"a fall by half", one(1, 2, 1), true, true, "line 4"},
		{"NaN", one(1, math.NaN()), false, false, "line 3"},
		{"nothing takes no time", one(1, 0, 2), false, false, "line 3"},
		{"infinite", one(math.Inf(1)), false, false, "line 2"},
		{"0 everywhere may be an operator that the model lacks", one(0, 0), true, true, "everywhere"},
		{"one size measured twice, far apart", twice, true, true, "lines 2 and 3"},
	} {
		fs := c.p.Values()
		doubt, text := false, ""
		for _, f := range fs {
			doubt = doubt || f.Doubt
			text += f.Seen
		}
		if AllOK(fs) != c.ok || doubt != c.doubt || !strings.Contains(text, c.says) {
			t.Errorf("%s: %+v", c.why, fs)
		}
	}
}

func TestCover(t *testing.T) {
	r := Reach{Tokens: 4096, Chunk: 4096, Total: 4096, Context: 4032, Seqs: 128}
	many := func(n int, l Length, rest Length) (out []Length) {
		for i := range 200 {
			if i < n {
				out = append(out, l)
			} else {
				out = append(out, rest)
			}
		}
		return out
	}
	short := Length{500, 100}
	for _, c := range []struct {
		why       string
		d         Demand
		ok, doubt bool
	}{
		{"all inside", Demand{Points: map[string][]Length{"a": many(0, short, short)}}, true, false},
		{"half a percent outside", Demand{Points: map[string][]Length{"a": many(1, Length{4000, 200}, short)}}, true, true},
		{"two percent outside", Demand{Points: map[string][]Length{"a": many(4, Length{4000, 200}, short)}}, false, false},
		{"one small point wholly outside beside a large one inside", Demand{Points: map[string][]Length{"a": many(0, short, short), "b": {{4096, 128}}}}, false, false},
		{"a long prompt in chunks of the budget still ends beyond", Demand{MaxTokens: 512, Points: map[string][]Length{"a": {{5000, 1}}}}, false, false},
		{"the longest that was measured", Demand{Points: map[string][]Length{"a": {{4000, 34}}}}, true, false},
		{"a cap above the table is a doubt", Demand{MaxSeqs: 256, Points: map[string][]Length{"a": {short}}}, true, true},
	} {
		fs := Cover(r, c.d)
		doubt := false
		for _, f := range fs {
			doubt = doubt || f.Doubt
		}
		if AllOK(fs) != c.ok || doubt != c.doubt {
			t.Errorf("%s: %+v", c.why, fs)
		}
	}
	if fs := Cover(Reach{}, Demand{Points: map[string][]Length{"a": {{1 << 20, 1 << 20}}}}); !AllOK(fs) {
		t.Errorf("a profile without bounds covers everything: %+v", fs)
	}
}

func TestParity(t *testing.T) {
	var p Parity
	p.Add(Field{Name: "a", Asked: "1", Simulator: "1"}, nil)
	p.Add(Field{Name: "b", Engine: "x"}, nil)
	if !p.Same || !p.Fields[0].Known || p.Fields[1].Known {
		t.Errorf("%+v", p)
	}
	p.Add(Field{Name: "c", Asked: "1", Engine: "1", Simulator: "2"}, nil)
	if p.Same || p.Fields[2].Same {
		t.Errorf("a simulator of its own mind passes: %+v", p)
	}
}

// Real profiles pass the physics of their own card; relabelled as a much
// faster model or in a wrong unit they do not.
func TestPhysics(t *testing.T) {
	for _, dir := range []string{"profiles/vidur", "measured/RTX4090_profile"} {
		p, err := Open(shared.Path(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		card, ok := KnownCard(p.Identity.GPU)
		if !ok {
			t.Fatalf("%s is not known", p.Identity.GPU)
		}
		for _, f := range p.Physics(card, 2) {
			t.Logf("%s: %s, allowed %s, ok %v, doubt %v", f.Check, f.Seen, f.Allowed, f.OK, f.Doubt)
			if !f.OK || f.Doubt {
				t.Errorf("%s: %+v", dir, f)
			}
		}
		for _, tb := range p.Tables {
			for i := range tb.Rows {
				tb.Rows[i].Time /= 1e3
			}
		}
		if AllOK(p.Physics(card, 2)) {
			t.Errorf("%s: times a thousand times too small pass", dir)
		}
	}
}
