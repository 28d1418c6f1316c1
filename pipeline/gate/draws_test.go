package gate

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"calrun/pipeline/store"

	"pgregory.net/rapid"
)

func FuzzReadDraws(f *testing.F) {
	f.Add([]byte(drawsHeader + `{"leaves":{},"sets":[{"name":"null","rows":1,"cols":1}]}` + "\n1234"))
	f.Add([]byte(drawsHeader + "{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "draws")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		d, err := ReadDraws(path)
		if err != nil {
			return
		}
		if err := WriteDraws(path, d); err != nil { // what can be read can be written, and read again
			t.Fatal(err)
		}
		if _, err := ReadDraws(path); err != nil {
			t.Fatal(err)
		}
	})
}

// Reading gives what was written, to the precision of the file; writing it
// again gives the same bytes.
func TestDrawsRoundTrip(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		cols := rapid.IntRange(1, 4).Draw(t, "cols")
		rows := rapid.IntRange(0, 5).Draw(t, "rows")
		values := rapid.SliceOfN(rapid.OneOf(rapid.Float64(), rapid.Just(math.NaN()), rapid.Just(math.Inf(1))), rows*cols, rows*cols).Draw(t, "values")
		for i := range values {
			values[i] = float64(float32(values[i]))
		}
		d := &Draws{
			Leaves: map[string]Leaf{"/a/b~1c": {Op: "mean_abs", Cols: []int{0, cols - 1}}, "/z": {Op: "value", Cols: []int{0}}},
			Sets:   map[string]Matrix{"replicates": {Cols: cols, Values: values}, "null": {Cols: cols, Values: values}},
			Doubts: map[string]string{"/a": "one seed"},
		}
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		if err := WriteDraws(a, d); err != nil {
			t.Fatal(err)
		}
		got, err := ReadDraws(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := WriteDraws(b, got); err != nil {
			t.Fatal(err)
		}
		da, _ := store.DigestPath(a)
		db, _ := store.DigestPath(b)
		if da != db || !reflect.DeepEqual(got.Leaves, d.Leaves) || !reflect.DeepEqual(got.Doubts, d.Doubts) {
			t.Fatalf("read %+v, wrote %+v", got, d)
		}
		for i, v := range got.Sets["replicates"].Values {
			if v != values[i] && !(math.IsNaN(v) && math.IsNaN(values[i])) {
				t.Fatalf("value %d: %v, want %v", i, v, values[i])
			}
		}
	})
}

func TestReadDrawsRefuses(t *testing.T) {
	head := drawsHeader + `{"leaves":{},"sets":[{"name":"null","rows":2,"cols":1}]}` + "\n"
	for name, text := range map[string]string{
		"another format": "PK\x03\x04", "no description": drawsHeader, "description is not JSON": drawsHeader + "x\n",
		"cut off": head + "1234", "too long": head + "12345678" + "9", "negative": strings.Replace(head, "2", "-2", 1),
	} {
		path := filepath.Join(t.TempDir(), "draws")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadDraws(path); err == nil {
			t.Errorf("%s: read without error", name)
		}
	}
}

func TestLeafValue(t *testing.T) {
	row := []float64{-0.2, 0.1, math.NaN()}
	for _, tt := range []struct {
		op   string
		cols []int
		want float64 // NaN for undefined
	}{
		{"value", []int{0}, -0.2},
		{"abs", []int{0}, 0.2},
		{"mean", []int{0, 1}, -0.05},
		{"mean_abs", []int{0, 1}, 0.15},
		{"max_abs", []int{0, 1}, 0.2},
		{"mean", []int{0, 2}, math.NaN()},
		{"mean", nil, math.NaN()},
		{"mean", []int{3}, math.NaN()},
		{"scaled", []int{0, 1}, -0.22},
		{"scaled", []int{0}, math.NaN()},
		{"scaled", []int{0, 2}, math.NaN()},
		{"typo", []int{0}, math.NaN()},
	} {
		got := Leaf{Op: tt.op, Cols: tt.cols}.Value(row)
		if math.Abs(got-tt.want) > 1e-12 || math.IsNaN(got) != math.IsNaN(tt.want) {
			t.Errorf("%s %v: %v, want %v", tt.op, tt.cols, got, tt.want)
		}
	}
}
