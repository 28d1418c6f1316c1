package profile

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"calrun/internal/shared"

	"pgregory.net/rapid"
)

// At every measured size a lookup gives what was measured: LLMServingSim's
// attention, all 8,643 cells, and the sum of its layers.
func TestLookupsGoThroughTheMeasurements(t *testing.T) {
	p, err := Open(shared.Path(t, "measured/RTX4090_profile"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := p.compile(Scale{MLP: 1, Attn: 1, Comm: 1})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, table := range p.Tables {
		if table.Op != "attention" {
			continue
		}
		for _, r := range table.Rows {
			got, out := m.attn.at([4]float64(r.At))
			if want := 32 * r.Time; math.Abs(got/want-1) > 1e-12 || out {
				t.Fatalf("%v: %v, outside %v; measured %v", r.At, got, out, want)
			}
			n++
		}
	}
	if n < 8000 {
		t.Errorf("only %d cells", n)
	}
	want := 0.0
	for _, table := range p.Tables {
		for _, r := range table.Rows {
			if table.Family == MLP && table.Axes[0] == "tokens" && r.At[0] == 512 {
				want += float64(32*table.PerLayer+table.Once) * r.Time
			}
		}
	}
	if got, _ := m.dense.at(512); math.Abs(got/want-1) > 1e-12 {
		t.Errorf("512 tokens cost %v, the layers sum to %v", got, want)
	}
}

// Vidur's own run of this profile: its first batches are one prompt of 374
// tokens (30.54 ms) and then single decodes (9.96 ms). Its forests predict
// within a few percent of what interpolation gives.
func TestNearVidur(t *testing.T) {
	p, err := Open(shared.Path(t, "profiles/vidur"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := p.Model(Scale{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why   string
		b     Batch
		vidur time.Duration
		tol   float64
	}{
		{"a prompt of 374", prefills(374), 30541408, 0.04},
		{"a decode at 374", decodes(1, 374), 9963360, 0.04},
	} {
		d, _ := m.Step(&c.b)
		t.Logf("%s: %v, Vidur %v (%+.1f %%)", c.why, d, c.vidur, 100*(float64(d)/float64(c.vidur)-1))
		if e := math.Abs(float64(d)/float64(c.vidur) - 1); e > c.tol {
			t.Errorf("%s takes %v, in Vidur %v", c.why, d, c.vidur)
		}
	}
}

// Laws that hold for any batch: a step takes time, deterministically; a scale
// of 2 on everything doubles it; an overhead adds up to the nanosecond; a
// batch inside the tables is not outside.
func TestStepLaws(t *testing.T) {
	for _, dir := range []string{"profiles/vidur", "measured/RTX4090_profile"} {
		p, err := Open(shared.Path(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		one, err := p.Model(Scale{})
		if err != nil {
			t.Fatal(err)
		}
		two, err := p.Model(Scale{MLP: 2, Attn: 2, Comm: 2})
		if err != nil {
			t.Fatal(err)
		}
		more, err := p.Model(Scale{Overhead: time.Millisecond, PerSequence: time.Microsecond})
		if err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(r *rapid.T) {
			var b Batch
			budget := 2048
			for range rapid.IntRange(0, 4).Draw(r, "prefills") {
				c := Chunk{Tokens: rapid.IntRange(1, 600).Draw(r, "chunk"), Context: rapid.IntRange(0, 2000).Draw(r, "context")}
				if budget -= c.Tokens; budget < 0 {
					break
				}
				b.Prefills = append(b.Prefills, c)
			}
			b.Decodes = rapid.IntRange(0, 128).Draw(r, "decodes")
			if b.Sequences() == 0 {
				b.Decodes = 1
			}
			b.DecodeContext = b.Decodes * rapid.IntRange(16, 4000).Draw(r, "mean context")
			d, out := one.Step(&b)
			if d <= 0 {
				r.Fatalf("%+v takes %v", b, d)
			}
			if again, _ := one.Step(&b); again != d {
				r.Fatalf("%+v takes %v and then %v", b, d, again)
			}
			if d2, _ := two.Step(&b); d2 < 2*d-2 || d2 > 2*d+2 {
				r.Fatalf("twice %v is %v", d, d2)
			}
			if dm, _ := more.Step(&b); dm < d+time.Millisecond+time.Duration(b.Sequences())*time.Microsecond-1 || dm > d+time.Millisecond+time.Duration(b.Sequences())*time.Microsecond+1 {
				r.Fatalf("%v with overheads is %v", d, dm)
			}
			if b.Tokens() <= 2048 && b.PrefillContext() <= 2000 && out {
				r.Fatalf("%+v is outside", b)
			}
			grown := b
			grown.Decodes, grown.DecodeContext = 3000, 3000*100
			if _, out := one.Step(&grown); !out {
				r.Fatalf("3000 sequences are inside")
			}
		})
	}
}

func BenchmarkStep(b *testing.B) {
	for _, dir := range []string{"profiles/vidur", "measured/RTX4090_profile"} {
		p, err := Open(shared.Path(b, dir))
		if err != nil {
			b.Fatal(err)
		}
		m, err := p.Model(Scale{})
		if err != nil {
			b.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		batches := make([]Batch, 1024)
		for i := range batches {
			n := 1 + rng.IntN(120)
			batches[i] = decodes(n, 16+rng.IntN(3000))
			if i%8 == 0 {
				batches[i].Prefills = []Chunk{{Tokens: 1 + rng.IntN(500), Context: rng.IntN(500)}}
			}
		}
		b.Run(string(p.Format), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.Step(&batches[i&1023])
			}
		})
	}
}
