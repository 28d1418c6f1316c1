package trace

// Content says what a prompt begins with, so that two prompts can begin alike:
// an id for each block of Tokens tokens, from its start. Two prompts are equal
// as far as their ids are; what lies beyond the ids no other prompt has. The
// last id may stand for a block that the prompt fills in part.
//
// It is what Mooncake's traces call hash_ids, with blocks of 512 tokens.
type Content struct {
	Tokens int      // tokens in a block, at least 1
	IDs    []uint64 // of the blocks
}

// Covered is how many tokens of a prompt the ids stand for.
func (c *Content) Covered(prompt int) int {
	if c == nil {
		return 0
	}
	return min(prompt, len(c.IDs)*c.Tokens)
}

// Keys are the keys of the blocks of an engine's prefix cache, of size tokens
// each, that the known content of the prompt fills: equal for two prompts as
// far as all tokens up to the end of the block are. nil where nothing is known,
// and for a size of 0.
func (r Request) Keys(size int) []uint64 {
	full := 0
	if size > 0 {
		full = r.Content.Covered(r.Prompt) / size
	}
	if full == 0 {
		return nil
	}
	keys := make([]uint64, full)
	key, read := Chain(uint64(size), uint64(r.Content.Tokens)), 0
	for i := range keys {
		for ; read*r.Content.Tokens < (i+1)*size; read++ {
			key = Chain(key, r.Content.IDs[read])
		}
		keys[i] = Chain(key, uint64(i))
	}
	return keys
}

// Chain is the key of what follows on something with a key: a 64-bit mix
// (the finalizer of SplitMix64; Steele, Lea and Flood 2014) of both.
func Chain(key, next uint64) uint64 {
	x := key*0x9e3779b97f4a7c15 ^ next
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
