package profile

import (
	"fmt"
	"math"
)

const (
	gb = 1e9
	// activation is an allowance for activations, per card.
	activation = 1 * gb
)

// Plant is what a KV cache must fit into: the cards of one replica, and the
// model on them. Zero fields are not known.
type Plant struct {
	Dims      Dims
	Elem      int // bytes of a weight and of an element of the KV cache
	Card      Card
	TP, PP    int
	Share     float64 // gpu_memory_utilization
	BlockSize int
	Longest   int  // tokens of the longest request, prompt and output
	Engine    *int // KV blocks as the engine states them
	Simulator *int // as the simulator is given them; nil is without bounds
	Fitted    bool // the simulator's were fitted, and may differ from the engine's
}

// share is the part of a card's memory that the engine may use: vLLM's default
// where nobody states it.
func (p Plant) share() float64 {
	if p.Share == 0 {
		return 0.9
	}
	return p.Share
}

// KV is the KV cache counted three ways, and whether it fits.
type KV struct {
	Known           bool     `json:"known" doc:"whether the cards' memory, the weights and the size of a token are known"`
	TotalGB         *float64 `json:"total_gb,omitempty" doc:"nominal memory of the replica's cards, 10^9 bytes"`
	WeightsGB       *float64 `json:"weights_gb,omitempty" doc:"weights of the model, 10^9 bytes"`
	EstimateGB      *float64 `json:"estimate_gb,omitempty" doc:"total memory - weights - activations (1 GB a card)"`
	EstimateTokens  *int     `json:"estimate_tokens,omitempty" doc:"the same in tokens"`
	UtilisedTokens  *int     `json:"utilised_tokens,omitempty" doc:"tokens at gpu_memory_utilization, from what the driver gives"`
	UtilisedBlocks  *int     `json:"utilised_blocks,omitempty" doc:"the same in blocks"`
	EngineBlocks    *int     `json:"engine_blocks,omitempty" doc:"blocks as the engine states them"`
	SimulatorBlocks *int     `json:"simulator_blocks,omitempty" doc:"blocks that the simulator is given"`
	BlockSize       int      `json:"block_size" doc:"tokens in one block; 0 if nobody states it"`
	Longest         int      `json:"longest_tokens" doc:"prompt and output of the longest request"`
	Fits            bool     `json:"fits" doc:"the longest request fits into the engine's blocks (or, where it states none, beside the weights), and the simulator has as many blocks as the engine"`
	Why             string   `json:"why" doc:"what does not fit and what to do, or what fits"`
}

// Fit counts the KV cache three ways: an estimate by hand (total memory −
// weights − activations), at utilisation, and the engine's own blocks.
//
// It fits when (1) the engine's blocks hold the longest request, or, where the
// engine states none, the memory at utilisation does beside the weights;
// and (2) the simulator has exactly the engine's blocks, where both are known
// and the simulator's were not fitted.
// If neither blocks nor memory are known it does not fit: nobody can say.
func Fit(p Plant) KV {
	kv := KV{EngineBlocks: p.Engine, SimulatorBlocks: p.Simulator, BlockSize: p.BlockSize, Longest: p.Longest}
	cards := float64(max(1, p.TP) * max(1, p.PP))
	weights := float64(p.Dims.Parameters * p.Elem)
	token := float64(p.Dims.KVBytes(p.Elem))
	memory := float64(p.Card.Bytes)
	kv.Known = weights > 0 && token > 0 && memory > 0
	room := math.NaN()
	if kv.Known {
		estimate := cards*p.Card.Nominal*gb - weights - cards*activation
		kv.TotalGB, kv.WeightsGB = rounded(cards*p.Card.Nominal), rounded(weights/gb)
		kv.EstimateGB, kv.EstimateTokens = rounded(estimate/gb), whole(estimate/token)
		room = (cards*memory*p.share() - weights - cards*activation) / token
		kv.UtilisedTokens = whole(room)
		if p.BlockSize > 0 {
			kv.UtilisedBlocks = whole(room / float64(p.BlockSize))
		}
	}
	kv.Fits, kv.Why = p.fits(kv, room)
	return kv
}

func (p Plant) fits(kv KV, room float64) (bool, string) {
	switch {
	case p.Engine != nil && p.BlockSize > 0 && *p.Engine*p.BlockSize < p.Longest:
		return false, fmt.Sprintf("the engine's %d blocks of %d tokens do not hold the longest request (%d tokens); lower max_total or give the engine more memory", *p.Engine, p.BlockSize, p.Longest)
	case p.Engine != nil && p.Simulator != nil && *p.Engine != *p.Simulator && !p.Fitted:
		return false, fmt.Sprintf("the engine has %d KV blocks and the simulator %d; leave params.kv_blocks out, or set it to the engine's", *p.Engine, *p.Simulator)
	case p.Engine != nil:
		return true, fmt.Sprintf("the engine states %d blocks", *p.Engine)
	case !kv.Known:
		return false, "the engine states no KV blocks, and the card's memory or the model's size is not known; name model, gpu and dtype in the deployment as on their hubs"
	case room < float64(p.Longest):
		return false, p.advice(room)
	}
	return true, fmt.Sprintf("%.0f tokens fit beside the weights; the engine states no blocks", room)
}

// advice is more tensor parallelism first, since it adds
// bandwidth; pipeline parallelism only if the model does not fit otherwise.
func (p Plant) advice(room float64) string {
	need := float64(p.Dims.Parameters*p.Elem) + float64(p.Longest*p.Dims.KVBytes(p.Elem))
	per := float64(p.Card.Bytes)*p.share() - activation
	cards := int(math.Ceil(need / per))
	tp := max(1, p.TP)
	pp := (cards + tp - 1) / tp
	what := fmt.Sprintf("only %.0f tokens fit beside the weights and the longest request has %d", room, p.Longest)
	if room < 0 {
		what = fmt.Sprintf("the weights (%.1f GB) do not fit on %d × %s", float64(p.Dims.Parameters*p.Elem)/gb, tp*max(1, p.PP), p.Card.Name)
	}
	return fmt.Sprintf("%s; it needs %d cards: raise tensor_parallel, or keep %d and set pipeline_parallel to %d", what, cards, tp, pp)
}

func rounded(v float64) *float64 { return new(math.Round(v*10) / 10) }

// whole rounds down, and what is below nothing to nothing.
func whole(v float64) *int { return new(int(math.Max(0, math.Floor(v)))) }
