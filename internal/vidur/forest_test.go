package vidur

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"calrun/internal/profile"
)

// trained is a simulator whose predictors' folder holds what the test says.
func trained(t *testing.T, files map[string]string) *Simulator {
	t.Helper()
	s := &Simulator{Python: Python{Dialect: Registry}, Setup: Defaults(), dir: t.TempDir(), paths: Paths{Cache: "cache"}}
	s.Setup.Limits.Granularity = 64
	for name, text := range files {
		path := filepath.Join(s.dir, "cache", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write := func(p string, b []byte) error { return os.WriteFile(p, b, 0o644) }
		if filepath.Ext(path) == ".xz" {
			write = writeXZ
		}
		if err := write(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestMisfits(t *testing.T) {
	s := trained(t, map[string]string{"training_predictions/k/attn_decode.csv": "batch_size,time_stats.attn_decode.median,prediction\n1,1,1.1\n2,3,2.7\n3,0,0\n"})
	got, err := s.Misfits()
	m := got["attn_decode"]
	if err != nil || m.Rows != 2 || math.Abs(m.MAPE-0.1) > 1e-12 || math.Abs(m.Worst-0.1) > 1e-12 || math.Abs(m.Bias+0.05) > 1e-12 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := trained(t, nil).Misfits(); got != nil || err != nil {
		t.Errorf("a Vidur that does not tell: %v, %v", got, err)
	}
	if _, err := trained(t, map[string]string{"training_predictions/k/add.csv": "num_tokens,prediction\n1,1\n"}).Misfits(); err == nil {
		t.Error("predictions of nothing, and no error")
	}
	s.Python.Dialect = Repository
	if got, err := s.Misfits(); got != nil || err != nil {
		t.Errorf("the repository's dialect: %v, %v", got, err)
	}
}

// A step is looked up where Vidur does: each key stands once in the tables,
// with a time of its own.
func TestTables(t *testing.T) {
	files := map[string]string{
		"predictions/k/attn_prefill.csv.xz": "X_0,X_1,prediction\n128,64,0.5\n",
		"predictions/k/attn_decode.csv.xz":  "X_0,X_1,prediction\n1,64,0.1\n3,128,0.3\n",
	}
	for _, op := range perToken {
		files["predictions/k/"+op+".csv.xz"] = "X_0,prediction\n8,0.001\n48,0.01\n"
	}
	s := trained(t, files)
	tables, err := s.Tables(10, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why     string
		batch   profile.Batch
		want    time.Duration
		outside bool
	}{
		{"one decode, of 61 tokens and two more", profile.Batch{Decodes: 1, DecodeContext: 61}, 1090 * time.Microsecond, false},
		{
			"two decodes, a chunk of one token and a chunk of 40 that ends at 105 tokens",
			profile.Batch{Decodes: 2, DecodeContext: 190, Prefills: []profile.Chunk{{Tokens: 40, Context: 65}, {Tokens: 1, Context: 99}}},
			9200 * time.Microsecond, false, // 10 × (9 × 0.01 + 0.5 + 0.3 × 1.1), where 43 tokens are 48
		},
		{"beyond the tables", profile.Batch{Decodes: 1, DecodeContext: 1000}, 90 * time.Microsecond, true},
	} {
		if got, outside := tables.Step(&c.batch); got != c.want || outside != c.outside {
			t.Errorf("%s: %v, outside %v; want %v, %v", c.why, got, outside, c.want, c.outside)
		}
	}
	if _, err := trained(t, nil).Tables(10, 0); err == nil {
		t.Error("no tables, and no error")
	}
	s.Setup.TP = 2
	if _, err := s.Tables(10, 0); err == nil {
		t.Error("tables of tensor parallel 2 are not those of a step")
	}
}
