package profile

import (
	"fmt"
	"math"
	"time"
)

// opModel sums operator tables for a batch. All lookups are precomputed; Step
// allocates nothing.
type opModel struct {
	dense curve // by tokens
	seq   curve // by sequences
	comm  curve // by tokens
	// attn has the axes chunk, its context, decoding sequences, their mean
	// context: one kernel for a mixed batch. Where the profile measured
	// prefill and decode apart, apart is true and they add up.
	attn   *grid // or the prefill part
	decode *grid // of decode alone, nil unless apart
	// Bounds that are no box: the longest chunk + context, and the most
	// decoding sequences measured together with a prefill. 0 is none.
	maxTotal, maxJoint int
	overhead, perSeq   float64 // seconds
}

// compile turns the tables into lookups.
func (p *Profile) compile(s Scale) (*opModel, error) {
	if p.Dims.Layers <= 0 {
		return nil, fmt.Errorf("profile %s: the number of layers of %q is not known; state num_layers in a %s beside the tables", p.Dir, p.Identity.Model, ManifestFile)
	}
	if len(p.Missing) > 0 {
		return nil, fmt.Errorf("profile %s: incomplete: it lacks %s", p.Dir, p.Missing[0])
	}
	m := &opModel{overhead: s.Overhead.Seconds(), perSeq: s.PerSequence.Seconds()}
	for _, t := range p.Tables {
		if err := t.usable(); err != nil {
			return nil, err
		}
		n := float64(t.PerLayer*p.Dims.Layers + t.Once)
		switch {
		case t.Op == "attention":
			m.joint(t, n*s.Attn)
		case t.Op == "attn_prefill":
			m.attn, m.maxTotal = prefillGrid(t, n*s.Attn), reach(t)
		case t.Op == "attn_decode":
			m.decode = decodeGrid(t, n*s.Attn)
		case n == 0: // read, and not paid for
		case t.Family == Comm:
			m.comm.add(t.line(float64(2*p.Dims.Hidden)), n*s.Comm)
		case t.Axes[0] == "sequences":
			m.seq.add(t.line(1), n*s.MLP)
		default:
			m.dense.add(t.line(1), n*s.MLP)
		}
	}
	return m, nil
}

// usable refuses a time that no sum survives. What is merely suspicious is
// for [Profile.Values].
func (t *Table) usable() error {
	for _, r := range t.Rows {
		if math.IsNaN(r.Time) || math.IsInf(r.Time, 0) || r.Time < 0 {
			return fmt.Errorf("profile %s: line %d: the time of %s is %v; profile it again, or take the row out", t.File, r.Line, t.Op, r.Time)
		}
		for i, v := range r.At {
			if v > maxKnot && t.Family != Comm {
				return fmt.Errorf("profile %s: line %d: %s is %.0f; more than %d is not a size of an engine step", t.File, r.Line, t.Axes[i], v, maxKnot)
			}
		}
	}
	return nil
}

// line collapses a one-axis table; sizes are divided by per (bytes of a token
// where the axis is in bytes).
func (t *Table) line(per float64) line {
	x, y := t.points1()
	for i := range x {
		x[i] /= per
	}
	return line{x, y}
}

// reach is the longest sequence that a prefill table was measured on.
func reach(t *Table) int {
	n := 0.0
	for _, r := range t.Rows {
		n = max(n, r.At[0]+r.At[1])
	}
	return int(n)
}

// Step implements [Model].
func (m *opModel) Step(b *Batch) (d time.Duration, outside bool) {
	tokens, ctx := 0, 0
	for i := range b.Prefills {
		tokens += b.Prefills[i].Tokens
		ctx += b.Prefills[i].Context
	}
	seqs := len(b.Prefills) + b.Decodes
	s, out1 := m.dense.at(tokens + b.Decodes + b.Padding)
	v, out2 := m.seq.at(seqs)
	s += v
	v, out3 := m.comm.at(tokens + b.Decodes)
	s += v
	var out4 bool
	if m.decode != nil {
		v, out4 = m.attendApart(b)
	} else {
		v, out4 = m.attendJoint(b, tokens, ctx)
	}
	s += v
	s += m.overhead
	s += float64(m.perSeq * float64(seqs))
	return time.Duration(math.Round(s * 1e9)), out1 || out2 || out3 || out4
}

// attendApart adds up a prefill kernel per chunk and one decode kernel at the
// mean context: decode attention is linear in it, so that the mean carries
// the sum.
func (m *opModel) attendApart(b *Batch) (s float64, outside bool) {
	for i := range b.Prefills {
		c := &b.Prefills[i]
		v, out := m.attn.plane(0, 1, float64(c.Tokens), float64(c.Context))
		s += v
		outside = outside || out || c.Tokens+c.Context > m.maxTotal
	}
	if b.Decodes == 0 {
		return s, outside
	}
	v, out := m.decode.plane(2, 3, float64(b.Decodes), float64(b.DecodeContext)/float64(b.Decodes))
	return s + v, outside || out
}

// attendJoint looks a mixed batch up as one kernel. The table knows one chunk;
// several count as one of their sum, unless that exceeds the sum of them
// alone: short prompts do not attend to each other.
func (m *opModel) attendJoint(b *Batch, tokens, ctx int) (s float64, outside bool) {
	mean := 0.0
	if b.Decodes > 0 {
		mean = float64(b.DecodeContext) / float64(b.Decodes)
	}
	s, outside = m.attn.at([4]float64{float64(tokens), float64(ctx), float64(b.Decodes), mean})
	outside = outside || tokens > 0 && b.Decodes > m.maxJoint
	if len(b.Prefills) < 2 {
		return s, outside
	}
	together, _ := m.attn.at([4]float64{float64(tokens), float64(ctx)})
	alone := 0.0
	for i := range b.Prefills {
		v, _ := m.attn.at([4]float64{float64(b.Prefills[i].Tokens), float64(b.Prefills[i].Context)})
		alone += v
	}
	if alone >= together {
		return s, outside
	}
	least := 0.0
	if b.Decodes > 0 {
		least, _ = m.attn.at([4]float64{0, 0, float64(b.Decodes), mean})
	}
	return max(least, s-(together-alone)), outside
}
