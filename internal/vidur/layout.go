package vidur

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ulikunitz/xz"

	"calrun/internal/profile"
)

// The files of a profile, as Vidur names them.
const (
	mlpFile       = "mlp.csv"
	attentionFile = "attention.csv"
	allReduceFile = "all_reduce.csv"
	overheadFile  = "cpu_overheads.csv" // of the repository's dialect
)

// sheets is a copy of a profile, scaled: file name → content.
type sheets map[string][]byte

// carrier is the operator that carries the overhead of a step in the copy for
// the registry's dialect, which knows no time outside its layers. Every model
// has it, and a layer pays for it exactly once.
const carrier = "mlp_act"

// copySheets reads the profile's files and applies the setup's factors and
// overhead to their medians, which are all that Vidur reads. layers is the
// model's number of layers.
func copySheets(from profile.Sheets, s Setup, d Dialect, layers int) (sheets, error) {
	out := sheets{}
	spread := 0.0
	if d == Registry {
		var err error
		if spread, err = s.spread(layers); err != nil {
			return nil, err
		}
	}
	for _, x := range []struct {
		name, path string
		factor     float64
	}{
		{mlpFile, from.MLP, s.Scale.MLP},
		{attentionFile, from.Attention, s.Scale.Attn},
		{allReduceFile, from.AllReduce, s.Scale.Comm},
	} {
		if x.path == "" {
			if s.TP > 1 {
				return nil, fmt.Errorf("tensor parallel is %d and the profile has no %s", s.TP, x.name)
			}
			continue
		}
		data, err := scaled(x.path, x.factor, spread)
		if err != nil {
			return nil, err
		}
		out[x.name] = data
	}
	if d == Repository && s.Scale.Overhead > 0 {
		out[overheadFile] = s.overheads()
	}
	return out, nil
}

// scaled reads a CSV and multiplies the medians of its operators with a factor
// (0 is 1); the carrier gets extra ms besides. A file that nothing changes is
// copied byte for byte.
func scaled(path string, factor, extra float64) ([]byte, error) {
	if factor == 0 {
		factor = 1
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("copy the profile: %w", err)
	}
	in := csv.NewReader(bytes.NewReader(data))
	head, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("copy the profile: %s: %w", path, err)
	}
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	plus := map[int]float64{} // column of a median → what is added to it
	for i, name := range head {
		op, ok := strings.CutPrefix(strings.TrimSpace(name), "time_stats.")
		if op, median := strings.CutSuffix(op, ".median"); ok && median {
			plus[i] = 0
			if op == carrier {
				plus[i] = extra
			}
		}
	}
	_ = w.Write(head) // into memory; Flush keeps the error
	same := true
	for {
		rec, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("copy the profile: %s: %w", path, err)
		}
		for i, extra := range plus {
			v, err := strconv.ParseFloat(rec[i], 64)
			if err != nil || math.IsNaN(v) {
				continue // Vidur takes an empty cell for 0, or not at all: as it stands
			}
			if got := float64(factor*v) + extra; got != v { // never fused, so that every machine writes the same bytes
				rec[i], same = strconv.FormatFloat(got, 'g', -1, 64), false
			}
		}
		_ = w.Write(rec)
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return nil, fmt.Errorf("copy the profile: %s: %w", path, err)
	}
	if same {
		return data, nil
	}
	return out.Bytes(), nil
}

// overheads is the table of CPU times of the repository's dialect: the whole
// overhead is the scheduler's, at every batch size.
func (s Setup) overheads() []byte {
	var b bytes.Buffer
	b.WriteString("model_name,tensor_parallel_degree,batch_size,schedule_median,sampler_e2e_median,prepare_inputs_e2e_median,process_model_outputs_median,ray_comm_time_mean\n")
	ms := float64(s.Scale.Overhead) / float64(time.Millisecond)
	for n := 1; n <= s.Limits.Seqs; n++ {
		fmt.Fprintf(&b, "%s,%d,%d,%s,0,0,0,0\n", s.Model, s.TP, n, strconv.FormatFloat(ms, 'g', -1, 64))
	}
	return b.Bytes()
}

// write puts the copy into dir, as plain files.
func (f sheets) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("copy the profile: %w", err)
	}
	for name, data := range f {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return fmt.Errorf("copy the profile: %w", err)
		}
	}
	return nil
}

// dataset writes a data set as the hub's client finds it in its cache: the
// registry's dialect asks for a snapshot of a repository and is content with
// one that is there. revision is 40 hexadecimal digits.
func dataset(root, name, revision string, config map[string]string, files sheets) error {
	dir := filepath.Join(root, "datasets--"+strings.ReplaceAll(name, "/", "--"))
	snapshot := filepath.Join(dir, "snapshots", revision)
	for _, d := range []string{snapshot, filepath.Join(dir, "refs")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("lay out the profile: %w", err)
		}
	}
	text, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("lay out the profile: %w", err)
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "refs", "main"), []byte(revision), 0o644),
		os.WriteFile(filepath.Join(snapshot, "config.json"), text, 0o644),
	)
	for file, data := range files {
		err = errors.Join(err, writeXZ(filepath.Join(snapshot, file+".xz"), data))
	}
	if err != nil {
		return fmt.Errorf("lay out the profile: %w", err)
	}
	return nil
}

func writeXZ(path string, data []byte) error {
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// datasets lays the copy out below Vidur's cache folder.
func (f sheets) datasets(cache, revision string, s Setup, p Paths) error {
	compute, network := sheets{}, sheets{}
	for name, data := range f {
		if name == allReduceFile {
			network[name] = data
		} else {
			compute[name] = data
		}
	}
	root := filepath.Join(cache, "profiling_data")
	return errors.Join(
		dataset(filepath.Join(root, "compute"), p.Compute, revision, map[string]string{"model": s.Model, "device_sku": s.Device}, compute),
		dataset(filepath.Join(root, "network"), p.Network, revision, map[string]string{"sku": s.Node}, network),
	)
}
