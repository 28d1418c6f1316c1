package profile

import (
	"fmt"
	"path"
	"path/filepath"
)

// Sheets are the files that a profile in Vidur's layout was read from, for
// those who hand them on as they are.
type Sheets struct {
	MLP       string // path of mlp.csv
	Attention string // path of attention.csv
	AllReduce string // path of all_reduce.csv, "" where there is none
	Node      string // folder of AllReduce, which Vidur names after the kind of node; "" where there is none
}

// Sheets returns the profile's files. An error says why a profile of another
// layout has none.
func (p *Profile) Sheets() (Sheets, error) {
	var s Sheets
	if p.Format != Vidur {
		return s, fmt.Errorf("the profile in %s is in the layout %q; Vidur reads mlp.csv and attention.csv of its own profiler (layout %q)", p.Dir, p.Format, Vidur)
	}
	for _, t := range p.Tables {
		file := filepath.Join(p.root, filepath.FromSlash(t.File))
		switch t.Family {
		case MLP:
			s.MLP = file
		case Attn:
			s.Attention = file
		case Comm:
			s.AllReduce, s.Node = file, path.Base(path.Dir(t.File))
		}
	}
	return s, nil
}
