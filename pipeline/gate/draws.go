package gate

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"calrun/pipeline/canonical"
)

// Draws are replicates of a result: what its numbers would have been in other
// worlds. A result that has some carries them in a field with the tag
// `artefact:"draws"`; a gate over such a result judges its expressions on
// every draw instead of on the estimate alone.
//
// A leaf is a number of the result, named by its JSON pointer
// ("/points/rps-0.5/ttft/p50/ape"). Its value in a draw is an operation over
// columns, so that a mean over cells is never stored beside the cells, nor a
// simulated number beside the measured one and the error between them.
type Draws struct {
	Leaves map[string]Leaf   `json:"leaves"`
	Sets   map[string]Matrix `json:"sets"`   // "replicates", "null" (a perfect simulator at this n), "floor" (the engine against itself)
	Doubts map[string]string `json:"doubts"` // JSON pointer of a leaf or of what is around it → why it cannot be judged
}

// Leaf computes one number of a result from columns of a [Matrix].
type Leaf struct {
	Op   string `json:"op"` // value, abs, mean, mean_abs, max_abs; scaled: the first column × (1 + the second)
	Cols []int  `json:"cols"`
}

// Matrix holds draws × columns, row after row; NaN is "undefined in this draw".
type Matrix struct {
	Cols   int
	Values []float64
}

// Rows is the number of draws.
func (m Matrix) Rows() int {
	if m.Cols == 0 {
		return 0
	}
	return len(m.Values) / m.Cols
}

// Row is one draw.
func (m Matrix) Row(i int) []float64 { return m.Values[i*m.Cols : (i+1)*m.Cols] }

// Value computes the leaf in one draw. A leaf without columns, or with one
// that the draw does not have, is NaN.
func (l Leaf) Value(row []float64) float64 {
	if len(l.Cols) == 0 {
		return math.NaN()
	}
	sum, most := 0.0, 0.0
	for _, c := range l.Cols {
		if c < 0 || c >= len(row) || math.IsNaN(row[c]) {
			return math.NaN()
		}
		v := row[c]
		if l.Op != "value" && l.Op != "mean" {
			v = math.Abs(v)
		}
		sum += v
		most = max(most, v)
	}
	switch l.Op {
	case "value", "abs", "mean", "mean_abs":
		return sum / float64(len(l.Cols))
	case "max_abs":
		return most
	case "scaled":
		if len(l.Cols) == 2 {
			return row[l.Cols[0]] * (1 + row[l.Cols[1]])
		}
	}
	return math.NaN()
}

// drawsHeader is the first line of a file of draws, before the JSON line that
// describes the sets; their values follow as little-endian float32.
const drawsHeader = "calrun draws 1\n"

type drawsMeta struct {
	Leaves map[string]Leaf   `json:"leaves"`
	Sets   []drawsSet        `json:"sets"`
	Doubts map[string]string `json:"doubts,omitempty"`
}

type drawsSet struct {
	Name string `json:"name"`
	Rows int    `json:"rows"`
	Cols int    `json:"cols"`
}

// WriteDraws writes a file of draws. Equal draws have equal bytes. Values are
// kept as float32: seven digits, where the draws themselves are worth three.
func WriteDraws(path string, d *Draws) error {
	meta := drawsMeta{Leaves: d.Leaves, Sets: []drawsSet{}, Doubts: d.Doubts}
	for _, name := range slices.Sorted(maps.Keys(d.Sets)) {
		m := d.Sets[name]
		if m.Rows()*m.Cols != len(m.Values) {
			return fmt.Errorf("write draws: set %s has %d values, which is no multiple of its %d columns", name, len(m.Values), m.Cols)
		}
		meta.Sets = append(meta.Sets, drawsSet{Name: name, Rows: m.Rows(), Cols: m.Cols})
	}
	head, err := canonical.Encode(meta)
	if err != nil {
		return fmt.Errorf("write draws: %w", err)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write draws: %w", err)
	}
	w := bufio.NewWriter(f)
	_, err = w.WriteString(drawsHeader + string(head) + "\n")
	var cell [4]byte
	for _, s := range meta.Sets {
		for _, v := range d.Sets[s.Name].Values {
			binary.LittleEndian.PutUint32(cell[:], float32Bits(v))
			if err == nil {
				_, err = w.Write(cell[:])
			}
		}
	}
	if err := errors.Join(err, w.Flush(), f.Close()); err != nil {
		return fmt.Errorf("write draws: %w", err)
	}
	return nil
}

// float32Bits gives every NaN the same bits.
func float32Bits(v float64) uint32 {
	if math.IsNaN(v) {
		return math.Float32bits(float32(math.NaN()))
	}
	return math.Float32bits(float32(v))
}

// ReadDraws reads a file of draws.
func ReadDraws(path string) (*Draws, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read draws: %w", err)
	}
	defer f.Close()
	d, err := decodeDraws(bufio.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("read draws %s: %w", path, err)
	}
	return d, nil
}

func decodeDraws(r *bufio.Reader) (*Draws, error) {
	if line, err := r.ReadString('\n'); err != nil || line != drawsHeader {
		return nil, fmt.Errorf("the first line is %q, not %q", strings.TrimSpace(line), strings.TrimSpace(drawsHeader))
	}
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("line 2: %w", err)
	}
	var meta drawsMeta
	if err := json.Unmarshal(line, &meta); err != nil {
		return nil, fmt.Errorf("line 2: %w", err)
	}
	d := &Draws{Leaves: meta.Leaves, Sets: map[string]Matrix{}, Doubts: meta.Doubts}
	for _, s := range meta.Sets {
		m, err := readMatrix(r, s)
		if err != nil {
			return nil, fmt.Errorf("set %s: %w", s.Name, err)
		}
		d.Sets[s.Name] = m
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, errors.New("bytes follow the last set")
	}
	return d, nil
}

// readMatrix grows with what is really there, not with what the header claims.
func readMatrix(r io.Reader, s drawsSet) (Matrix, error) {
	if s.Rows < 0 || s.Cols < 0 {
		return Matrix{}, fmt.Errorf("%d × %d values", s.Rows, s.Cols)
	}
	m := Matrix{Cols: s.Cols}
	row := make([]byte, 4*s.Cols)
	for range s.Rows {
		if _, err := io.ReadFull(r, row); err != nil {
			return m, fmt.Errorf("only %d of %d draws are there: %w", m.Rows(), s.Rows, err)
		}
		for c := range s.Cols {
			m.Values = append(m.Values, float64(math.Float32frombits(binary.LittleEndian.Uint32(row[4*c:]))))
		}
	}
	return m, nil
}
