package profile

import "fmt"

// How far a measured time may be from what a card's peak rates allow. Cards
// boost above the clock of their data sheets, and small tensors live in
// caches: a time below 70 % of the bound is still not possible. One above
// five times the bound is slow for any kernel that is in use.
const (
	tooFast = 0.7
	tooSlow = 5
)

// Physics compares the largest measured sizes with what the card can do:
// projections and MLP against its peak operations, one token against reading
// the weights once, decode attention against reading the keys and values once.
// Where the card or the model is not known there is nothing to compare.
func (p *Profile) Physics(card Card, elem int) []Finding {
	if p.Step != nil {
		return nil
	}
	if card.TFLOPS == 0 || elem == 0 || p.Dims.MLP == 0 || p.Dims.Heads == 0 || p.Dims.Hidden == 0 {
		return []Finding{{Check: "physics", OK: true, Doubt: true, Seen: "card, dtype or model not known", Advice: "state gpu and dtype of the deployment"}}
	}
	m, err := p.compile(Scale{MLP: 1, Attn: 1, Comm: 1})
	if err != nil {
		return nil // said by Present or Values
	}
	weights := p.gemmWeights()
	tokens := m.dense.last
	many, _ := m.dense.at(tokens)
	one, _ := m.dense.at(1)
	out := []Finding{
		against("physics.gemm", fmt.Sprintf("projections and MLP at %d tokens", tokens), many, 2*weights*float64(tokens)/(card.TFLOPS*1e12), "operations at peak rate"),
		against("physics.weights", "projections and MLP at 1 token", one, weights*float64(elem)/(card.GBps*1e9), "reading the weights once"),
	}
	r := p.Reach()
	if r.Seqs == 0 || r.Context == 0 {
		return out
	}
	seqs := r.Seqs
	kv := float64(seqs) * float64(r.Context) * float64(p.Dims.KVBytes(elem)) / float64(max(1, p.Identity.TP))
	g := m.attn
	if m.decode != nil {
		g = m.decode
	}
	v, _ := g.at([4]float64{0, 0, float64(seqs), float64(r.Context)})
	return append(out, against("physics.decode", fmt.Sprintf("decode attention of %d sequences at %d tokens", seqs, r.Context), v, kv/(card.GBps*1e9), "reading keys and values once"))
}

// gemmWeights are the elements that one card multiplies a token with.
func (p *Profile) gemmWeights() float64 {
	d := p.Dims
	head := d.HeadDim
	if head == 0 {
		head = d.Hidden / d.Heads
	}
	layer := d.Hidden*head*(2*d.Heads+2*d.KVHeads) + 3*d.Hidden*d.MLP
	return float64(d.Layers*layer) / float64(max(1, p.Identity.TP))
}

func against(check, what string, seen, bound float64, of string) Finding {
	f := Finding{
		Check: check, OK: true, Seen: fmt.Sprintf("%s: %.3g ms", what, 1e3*seen),
		Allowed: fmt.Sprintf("%.3g ms (%s) and up to %d times that", 1e3*bound, of, tooSlow),
	}
	switch {
	case seen < tooFast*bound:
		f.OK, f.Advice = false, "no such card is that fast: the tables are of another card, model, dtype or TP degree, or in another unit"
	case seen > tooSlow*bound:
		f.Doubt, f.Advice = true, "slow for this card: was it shared, throttled, or is the profile of another one?"
	}
	return f
}
