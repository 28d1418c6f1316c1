package profile

import (
	"strings"
	"unicode"
)

// Dims are the dimensions of a dense decoder-only transformer. 0 is unknown.
type Dims struct {
	Layers     int `yaml:"num_layers,omitempty" json:"num_layers,omitempty"`
	Hidden     int `yaml:"hidden_size,omitempty" json:"hidden_size,omitempty"`
	Heads      int `yaml:"num_heads,omitempty" json:"num_heads,omitempty"`
	KVHeads    int `yaml:"num_kv_heads,omitempty" json:"num_kv_heads,omitempty"`
	HeadDim    int `yaml:"head_dim,omitempty" json:"head_dim,omitempty"` // 0: Hidden / Heads
	MLP        int `yaml:"intermediate_size,omitempty" json:"intermediate_size,omitempty"`
	Vocab      int `yaml:"vocab_size,omitempty" json:"vocab_size,omitempty"`
	Parameters int `yaml:"parameters,omitempty" json:"parameters,omitempty"` // of the whole model
}

// KVBytes is what one token occupies in the KV cache of all cards of a
// replica together: a key and a value per layer and KV head. 0 if unknown.
func (d Dims) KVBytes(elem int) int {
	head := d.HeadDim
	if head == 0 && d.Heads > 0 {
		head = d.Hidden / d.Heads
	}
	return 2 * d.Layers * d.KVHeads * head * elem
}

// shape is what tells one model's operators from another's.
func (d Dims) shape() [4]int { return [4]int{d.Hidden, d.Heads, d.KVHeads, d.MLP} }

// model is a model whose dimensions are public.
type model struct {
	name string // as on its hub
	dims Dims
}

// known returns the models whose dimensions need not be stated, from their
// published config.json; parameters are those of the checkpoint.
func known() []model {
	return []model{
		{"meta-llama/Llama-2-7b-hf", Dims{32, 4096, 32, 32, 128, 11008, 32000, 6_738_415_616}},
		{"meta-llama/Llama-2-13b-hf", Dims{40, 5120, 40, 40, 128, 13824, 32000, 13_015_864_320}},
		{"meta-llama/Llama-2-70b-hf", Dims{80, 8192, 64, 8, 128, 28672, 32000, 68_976_648_192}},
		{"meta-llama/Meta-Llama-3-8B", Dims{32, 4096, 32, 8, 128, 14336, 128256, 8_030_261_248}},
		{"meta-llama/Meta-Llama-3-70B", Dims{80, 8192, 64, 8, 128, 28672, 128256, 70_553_706_496}},
		{"meta-llama/Llama-3.1-8B", Dims{32, 4096, 32, 8, 128, 14336, 128256, 8_030_261_248}},
		{"meta-llama/Llama-3.1-70B", Dims{80, 8192, 64, 8, 128, 28672, 128256, 70_553_706_496}},
		{"meta-llama/Llama-3.2-1B", Dims{16, 2048, 32, 8, 64, 8192, 128256, 1_235_814_400}},
		{"meta-llama/Llama-3.2-3B", Dims{28, 3072, 24, 8, 128, 8192, 128256, 3_212_749_824}},
		{"codellama/CodeLlama-34b-Instruct-hf", Dims{48, 8192, 64, 8, 128, 22016, 32000, 33_743_970_304}},
		{"mistralai/Mistral-7B-v0.1", Dims{32, 4096, 32, 8, 128, 14336, 32000, 7_241_732_096}},
		{"Qwen/Qwen2.5-7B", Dims{28, 3584, 28, 4, 128, 18944, 152064, 7_615_616_512}},
		{"Qwen/Qwen3-8B", Dims{36, 4096, 32, 8, 128, 12288, 151936, 8_190_735_360}},
		{"Qwen/Qwen3-32B", Dims{64, 5120, 64, 8, 128, 25600, 151936, 32_762_123_264}},
	}
}

// Known returns the dimensions of a model by its name.
func Known(name string) (Dims, bool) {
	for _, m := range known() {
		if SameModel(m.name, name) {
			return m.dims, true
		}
	}
	return Dims{}, false
}

// layersOf returns the number of layers on which all known models of a shape
// agree, 0 if there is none or they differ.
func layersOf(shape [4]int) int {
	n := 0
	for _, m := range known() {
		if m.dims.shape() != shape {
			continue
		}
		if n != 0 && n != m.dims.Layers {
			return 0
		}
		n = m.dims.Layers
	}
	return n
}

// Card is a GPU whose memory and peak rates are known.
type Card struct {
	Name    string
	Nominal float64 // GB on the box, 10^9 bytes, as an estimate by hand counts
	Bytes   int64   // what the driver gives to a process; below the nominal GiB
	TFLOPS  float64 // dense 16-bit tensor peak, 10^12 operations per second
	GBps    float64 // memory bandwidth, 10^9 bytes per second
}

// cards returns the cards of which the memory need not be stated. Bytes are
// what CUDA reports as total memory; rates are of the makers' data sheets.
func cards() []Card {
	const mib = 1 << 20
	return []Card{
		{"A100-80GB", 80, 81153 * mib, 312, 2039},
		{"A100-40GB", 40, 40338 * mib, 312, 1555},
		{"A800-80GB", 80, 81153 * mib, 312, 2039},
		{"H100-80GB", 80, 81089 * mib, 989, 3352},
		{"H200-141GB", 141, 143156 * mib, 989, 4800},
		{"A40", 48, 45416 * mib, 150, 696},
		{"L40", 48, 45490 * mib, 181, 864},
		{"L40S", 48, 45490 * mib, 362, 864},
		{"A6000", 48, 48541 * mib, 155, 768},
		{"L4", 24, 22478 * mib, 121, 300},
		{"A10", 24, 22592 * mib, 125, 600},
		{"RTX3090", 24, 24135 * mib, 71, 936},
		{"RTX4090", 24, 24081 * mib, 165, 1008},
		{"RTXPRO6000", 96, 97251 * mib, 504, 1792},
	}
}

// KnownCard returns a card by its name, however it is spelled; without a
// memory size the largest of that name.
func KnownCard(name string) (Card, bool) {
	var best Card
	for _, c := range cards() {
		if SameGPU(c.Name, name) && c.Nominal > best.Nominal {
			best = c
		}
	}
	return best, best.Name != ""
}

// SameModel compares names of models by their last part, without regard to
// case and to Meta's prefix: "meta-llama/Meta-Llama-3-70B" and
// "Llama-3-70B" are one model.
func SameModel(a, b string) bool {
	short := func(s string) string {
		s = strings.ToLower(strings.TrimRight(s, "/"))
		s = s[strings.LastIndex(s, "/")+1:]
		return strings.TrimPrefix(s, "meta-")
	}
	return short(a) == short(b)
}

// SameGPU compares names of cards: "A100-80GB" and "NVIDIA A100-SXM4-80GB"
// are one, and so are "RTX4090" and "NVIDIA GeForce RTX 4090". The memory
// size counts only where both names state it.
func SameGPU(a, b string) bool {
	nameA, memA := gpuName(a)
	nameB, memB := gpuName(b)
	return nameA == nameB && (memA == "" || memB == "" || memA == memB)
}

func gpuName(s string) (name, mem string) {
	for _, w := range strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) {
		switch w {
		case "nvidia", "geforce", "tensor", "core", "gpu", "sxm", "sxm2", "sxm4", "sxm5", "pcie", "hbm3", "blackwell", "server", "workstation", "max", "q", "edition":
			continue
		}
		if g, ok := strings.CutSuffix(w, "gb"); ok && g != "" && strings.Trim(g, "0123456789") == "" {
			mem = g
			continue
		}
		name += w
	}
	return name, mem
}

// SameDtype compares types of weights: "bfloat16", "bf16" and
// "torch.bfloat16" are one.
func SameDtype(a, b string) bool { return dtype(a) == dtype(b) }

func dtype(s string) string {
	s = strings.TrimPrefix(strings.ToLower(s), "torch.")
	switch s {
	case "bf16":
		return "bfloat16"
	case "fp16", "half":
		return "float16"
	case "fp32", "float":
		return "float32"
	case "fp8_e4m3", "fp8_e5m2":
		return "fp8"
	}
	return s
}

// DtypeBytes is the size of one element, 0 if the type is not known.
func DtypeBytes(name string) int {
	switch dtype(name) {
	case "float32":
		return 4
	case "float16", "bfloat16":
		return 2
	case "fp8", "int8":
		return 1
	}
	return 0
}

// SameAttention compares attention kernels: "flash-attention-2" and vLLM's
// "FLASH_ATTN" are one (which does not state its version), and so are
// "flashinfer" and Vidur's "AttentionBackend.FLASHINFER".
func SameAttention(a, b string) bool {
	nameA, verA := attention(a)
	nameB, verB := attention(b)
	return nameA == nameB && (verA == "" || verB == "" || verA == verB)
}

func attention(s string) (name, version string) {
	s = strings.ToLower(s)
	s = s[strings.LastIndex(s, ".")+1:]
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return r == '-' || r == '_' || r == ' ' }) {
		if w == "attn" || w == "attention" || w == "vllm" || w == "v1" {
			continue
		}
		if strings.Trim(w, "0123456789") == "" {
			version = w
			continue
		}
		name += w
	}
	return name, version
}
