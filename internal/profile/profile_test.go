package profile

import (
	"testing"
	"time"

	"calrun/internal/shared"
)

func decodes(n, ctx int) Batch {
	return Batch{Decodes: n, DecodeContext: n * ctx, MaxDecodeContext: ctx}
}

func prefills(tokens ...int) Batch {
	var b Batch
	for _, n := range tokens {
		b.Prefills = append(b.Prefills, Chunk{Tokens: n})
	}
	return b
}

// Steps of real profiles lie where physics and measurements put them. The
// bounds: a step cannot be faster than the weights can be read once (decode)
// or the FLOPs be done (prefill), and is not slower than three times that.
func TestRealProfiles(t *testing.T) {
	for _, c := range []struct {
		name, dir string
		gbps      float64 // bandwidth of the card
		tflops    float64
		params    float64
	}{
		{"A800", "profiles/vidur", 2039, 312, 6.74e9},
		{"RTX4090", "measured/RTX4090_profile", 1008, 165, 8.03e9},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Open(shared.Path(t, c.dir))
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v %+v", p.Identity, p.Dims)
			m, err := p.Model(Scale{})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []struct {
				name string
				b    Batch
			}{
				{"decode 1 at 512", decodes(1, 512)},
				{"decode 32 at 1024", decodes(32, 1024)},
				{"decode 128 at 1024", decodes(128, 1024)},
				{"decode 256 at 512", decodes(256, 512)},
				{"prefill 512", prefills(512)},
				{"prefill 2048", prefills(2048)},
				{"prefill 3×680", prefills(680, 680, 680)},
				{"mixed 512 + 32", Batch{Prefills: []Chunk{{512, 512}}, Decodes: 32, DecodeContext: 32 * 1024}},
			} {
				d, out := m.Step(&s.b)
				read := time.Duration(2 * c.params / c.gbps)
				flops := time.Duration(2 * c.params * float64(s.b.PrefillTokens()) / c.tflops / 1e3)
				t.Logf("%-20s %v outside=%v weights %v flops %v", s.name, d, out, read, flops)
				if d < max(read, flops)*9/10 {
					t.Errorf("%s takes %v, less than reading the weights (%v) or the FLOPs (%v) allow", s.name, d, read, flops)
				}
			}
		})
	}
}
