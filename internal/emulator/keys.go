package emulator

import (
	"encoding/json"
	"hash/fnv"

	"calrun/internal/trace"
)

// keys are the keys of the full blocks of a completion's prompt: equal for two
// prompts of one cache_salt as far as all that stands before the end of the
// block is.
func (c *Config) keys(b *body, chat bool) []uint64 {
	if !c.PrefixCache || chat {
		return nil
	}
	salt := fnv.New64a()
	salt.Write([]byte(b.Salt))
	key := salt.Sum64()
	var keys []uint64
	n := 0
	next := func(token uint64) {
		key = trace.Chain(key, token)
		if n++; n%c.BlockSize == 0 {
			keys = append(keys, key)
		}
	}
	var ids []uint64
	if json.Unmarshal(b.Prompt, &ids) == nil {
		for _, id := range ids {
			next(id)
		}
		return keys
	}
	var text string
	if json.Unmarshal(b.Prompt, &text) != nil {
		return nil // a list of one prompt: nobody sends that to have it cached
	}
	for ; len(text) >= 4; text = text[4:] {
		next(uint64(text[0]) | uint64(text[1])<<8 | uint64(text[2])<<16 | uint64(text[3])<<24)
	}
	return keys
}
