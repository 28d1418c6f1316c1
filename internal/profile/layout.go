package profile

import (
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// place is a folder that holds the compute tables of one model.
type place struct {
	format Format
	dir    string // below the root of the search, slash-separated
	attn   string // folder of attention.csv, where it is another
	model  string // as the path says; "" if it does not
	gpu    string
}

// found is what a search for tables saw.
type found struct {
	root     string
	places   []place
	networks []string // folders with all_reduce.csv, below root
	files    []string // CSV files seen, for an error that finds nothing else
}

// maxDepth is deep enough for a checkout of Vidur's repository.
const maxDepth = 8

// search looks for tables in root and below. A format other than "" is the
// only one that counts.
func search(root string, format Format) (*found, error) {
	f := &found{root: root}
	names := map[string][]string{} // folder → files
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if strings.Count(rel, "/") >= maxDepth || strings.HasPrefix(d.Name(), ".") && rel != "." {
				return fs.SkipDir
			}
			return nil
		}
		names[path.Dir(rel)] = append(names[path.Dir(rel)], d.Name())
		if path.Ext(rel) == ".csv" {
			f.files = append(f.files, rel)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	for _, dir := range sortedKeys(names) {
		has := func(name string) bool { return slices.Contains(names[dir], name) }
		switch {
		case has("dense.csv") && format != Vidur:
			f.places = append(f.places, place{format: Layers, dir: dir})
		case has("mlp.csv") && format != Layers:
			model, gpu := vidurNames(dir)
			f.places = append(f.places, place{format: Vidur, dir: dir, attn: dir, model: model, gpu: gpu})
		}
		if has("all_reduce.csv") {
			f.networks = append(f.networks, dir)
		}
	}
	f.attend(names)
	return f, nil
}

// attend finds attention.csv for the places that do not have it: Vidur's
// profiler writes the two files into folders apart,
// mlp/<time>/<org>/<model> and attention/<time>/<org>/<model>.
func (f *found) attend(names map[string][]string) {
	for i := range f.places {
		p := &f.places[i]
		if p.format != Vidur || slices.Contains(names[p.dir], "attention.csv") {
			continue
		}
		for _, dir := range sortedKeys(names) {
			if !slices.Contains(names[dir], "attention.csv") {
				continue
			}
			if model, _ := vidurNames(dir); model == p.model {
				p.attn = dir // of several runs the last
			}
		}
	}
}

// vidurNames reads the model and the card from the path that Vidur gives a
// profile: …/compute/<device>/<org>/<model>.
func vidurNames(dir string) (model, gpu string) {
	parts := strings.Split(dir, "/")
	if i := slices.Index(parts, "compute"); i >= 0 {
		parts = parts[i+1:]
	}
	if dir == "." || len(parts) < 2 {
		return "", ""
	}
	if len(parts) == 2 {
		if _, ok := Known(parts[1]); ok {
			return strings.Join(parts, "/"), ""
		}
		return parts[1], parts[0]
	}
	n := len(parts)
	model = parts[n-2] + "/" + parts[n-1]
	if parts[0] == "mlp" || parts[0] == "attention" {
		return model, "" // what the profiler writes: a time, not a card
	}
	return model, parts[n-3]
}

// choose returns the one place that is wanted.
func (f *found) choose(w Want) (place, error) {
	if len(f.places) == 0 {
		seen := "no CSV file"
		if len(f.files) > 0 {
			seen = strings.Join(f.files[:min(len(f.files), 6)], ", ")
		}
		return place{}, fmt.Errorf("read profile %s: no %s with a step: block, no mlp.csv (Vidur's layout) and no dense.csv (LLMServingSim's) in it or below; seen: %s", f.root, ManifestFile, seen)
	}
	left := f.places
	keep := func(ok func(place) bool) {
		var out []place
		for _, p := range left {
			if ok(p) {
				out = append(out, p)
			}
		}
		// A name that matches nothing is a question of identity, not of
		// layout: one profile of another model is opened and then named.
		if len(out) > 0 {
			left = out
		}
	}
	if w.Model != "" {
		keep(func(p place) bool { return p.model != "" && SameModel(p.model, w.Model) })
	}
	if w.GPU != "" {
		keep(func(p place) bool { return p.gpu != "" && SameGPU(p.gpu, w.GPU) })
	}
	if w.TP != 0 {
		keep(func(p place) bool { return path.Base(p.dir) == fmt.Sprintf("tp%d", w.TP) })
	}
	if len(left) > 1 {
		var dirs []string
		for _, p := range left {
			dirs = append(dirs, p.dir)
		}
		return place{}, fmt.Errorf("read profile %s: it holds %d profiles (%s); name one of the folders, or state model, gpu and tensor_parallel of the deployment", f.root, len(left), strings.Join(dirs, ", "))
	}
	return left[0], nil
}

// network returns the folder of the collectives for a card: the only one, or
// the only one whose node is named after the card.
func (f *found) network(gpu string) (dir string, ok bool) {
	if len(f.networks) == 1 {
		return f.networks[0], true
	}
	name, _ := gpuName(gpu)
	for _, d := range f.networks {
		node, _, _ := strings.Cut(path.Base(d), "_")
		if name != "" && node == name {
			if dir != "" {
				return "", false
			}
			dir = d
		}
	}
	return dir, dir != ""
}
