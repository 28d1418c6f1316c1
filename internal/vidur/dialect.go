package vidur

import (
	"fmt"
	"slices"
	"strings"

	"calrun/internal/profile"
)

// Dialect says which of the two simulators called Vidur it is. The same
// profile and trace give mean end-to-end times that differ by 40 % between
// them: they are never compared with each other unnamed.
type Dialect string

// The dialects.
const (
	Registry   Dialect = "registry"   // the package of the Python registry, 0.0.9 to 0.0.26: profiles are datasets
	Repository Dialect = "repository" // main of microsoft/vidur: profiles are files
)

// DialectOf tells the dialect by what `python -m vidur.main --help` prints:
// the one names datasets of profiles, the other files.
func DialectOf(help string) (Dialect, error) {
	switch {
	case strings.Contains(help, forest+"model_profiling_dataset"):
		return Registry, nil
	case strings.Contains(help, forest+"compute_input_file"):
		return Repository, nil
	}
	return "", fmt.Errorf("the help of vidur.main names neither --%smodel_profiling_dataset (the registry's Vidur, 0.0.9 to 0.0.26) nor --%scompute_input_file (the repository's): this Vidur is not known; give another with vidur.python, or leave that out and calrun installs 0.0.26", forest, forest)
}

// Models are the models whose dimensions the dialect knows, by its names.
func (d Dialect) Models() []string {
	llama3 := "meta-llama/Llama-3"
	if d == Repository {
		llama3 = "meta-llama/Meta-Llama-3"
	}
	return []string{
		"meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-70b-hf", llama3 + "-8B", llama3 + "-70B",
		"codellama/CodeLlama-34b-Instruct-hf", "internlm/internlm-20b", "internlm/internlm2-20b",
		"microsoft/phi-2", "Qwen/Qwen-72B",
	}
}

// Model is the dialect's name of a model, or of one with the same dimensions:
// all that Vidur knows of a model are its dimensions.
func (d Dialect) Model(name string) (string, error) {
	for _, m := range d.Models() {
		if profile.SameModel(m, name) {
			return m, nil
		}
	}
	dims, ok := profile.Known(name)
	for _, m := range d.Models() {
		if same, known := profile.Known(m); ok && known && same == dims {
			return m, nil
		}
	}
	return "", fmt.Errorf("no model of Vidur (%s) is %q; it knows %s", d, name, strings.Join(d.Models(), ", "))
}

// device is a card as Vidur names it. It decides the memory of Vidur's own
// planner, and nothing where the number of KV blocks is given.
type device struct {
	name  string
	card  string   // the card that it is
	nodes []string // kinds of node that it comes in; the first is the default
}

func (d Dialect) devices() []device {
	all := []device{
		{"a100", "A100-80GB", []string{"a100_dgx", "a100_pairwise_nvlink"}},
		{"a100", "A800-80GB", []string{"a100_dgx", "a100_pairwise_nvlink"}}, // the same chip with a slower link, which the network profile measures
		{"h100", "H100-80GB", []string{"h100_dgx", "h100_pairwise_nvlink"}},
		{"a40", "A40", []string{"a40_pairwise_nvlink"}},
	}
	if d == Registry {
		all = append(all, device{"l40", "L40", []string{"l40_pcie"}})
	}
	return all
}

// Device is the dialect's name of a card, and that of the node that it sits
// in: the hint if Vidur knows it (the folder of the network profile, say),
// otherwise the usual one.
func (d Dialect) Device(card, hint string) (name, node string, err error) {
	var known []string
	for _, x := range d.devices() {
		known = append(known, x.card)
		if !profile.SameGPU(x.card, card) {
			continue
		}
		if slices.Contains(x.nodes, hint) {
			return x.name, hint, nil
		}
		return x.name, x.nodes[0], nil
	}
	return "", "", fmt.Errorf("no card of Vidur (%s) is %q; it knows %s", d, card, strings.Join(known, ", "))
}
