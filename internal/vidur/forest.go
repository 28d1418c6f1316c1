package vidur

import (
	"bytes"
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

// Misfit is how far the forest of an operator is from the rows of the profile
// that it was trained on. Vidur prices every step by the forest, so this much
// of its error is no error of the profile.
type Misfit struct {
	Rows  int     `json:"rows" doc:"rows of the profile"`
	Bias  float64 `json:"bias" doc:"sum of the predicted times over the sum of the measured ones, less 1"`
	MAPE  float64 `json:"mape" doc:"mean of |predicted - measured| / measured, in [0,inf)"`
	Worst float64 `json:"worst" doc:"largest of these"`
}

// unpriced is an operator that has a forest and no part in a step's time:
// 0.0.26 leaves it out.
const unpriced = "attn_kv_cache_save"

// Misfits is how well the forests fit, by operator, of those that have a part
// in a step's time; nil where Vidur does not tell (the repository's dialect).
func (s *Simulator) Misfits() (map[string]Misfit, error) {
	if s.Python.Dialect != Registry {
		return nil, nil
	}
	files, err := filepath.Glob(filepath.Join(s.dir, s.paths.Cache, "training_predictions", "*", "*.csv"))
	if err != nil || len(files) == 0 {
		return nil, err
	}
	out := map[string]Misfit{}
	for _, path := range files {
		op := strings.TrimSuffix(filepath.Base(path), ".csv")
		if op == unpriced {
			continue
		}
		measured := "time_stats." + op + ".median"
		rows, err := readTable(path, measured, "prediction")
		if err != nil {
			return nil, err
		}
		var m Misfit
		var saw, said float64
		for _, r := range rows {
			saw, said = saw+r[0], said+r[1]
			if r[0] <= 0 {
				continue // a kernel below the clock's resolution has no relative error
			}
			e := math.Abs(r[1]-r[0]) / r[0]
			m.Rows, m.MAPE, m.Worst = m.Rows+1, m.MAPE+e, max(m.Worst, e)
		}
		if m.Rows > 0 {
			m.MAPE, m.Bias = m.MAPE/float64(m.Rows), said/saw-1
			out[op] = m
		}
	}
	return out, nil
}

// Tables are the step times that the registry's dialect looks up: the
// predictions of its forests, where it reads them. With them the embedded
// simulator takes Vidur's steps, to the rounding of its clock.
type Tables struct {
	ops    map[string]map[[2]int]float64 // ms of a layer
	layers int
	grain  int // step of the KV sizes
	shared float64
}

// perToken are the operators that are looked up by the tokens of a step,
// rounded up to 8.
var perToken = [...]string{"attn_pre_proj", "attn_post_proj", "attn_rope", "mlp_up_proj", "mlp_down_proj", "mlp_act", "input_layernorm", "post_attention_layernorm", "add"}

// Tables reads them. layers is the model's number of layers, batching the
// share that several decodes add to their attention: 0.1 for grouped-query
// attention, 0 without (Vidur's own defaults).
func (s *Simulator) Tables(layers int, batching float64) (*Tables, error) {
	if s.Python.Dialect != Registry || s.Setup.TP > 1 {
		return nil, fmt.Errorf("the tables of %s with tensor parallel %d are not read; those of the registry's dialect without are", s.Python, s.Setup.TP)
	}
	t := &Tables{ops: map[string]map[[2]int]float64{}, layers: layers, grain: s.Setup.Limits.Granularity, shared: batching}
	for _, op := range append(perToken[:], "attn_prefill", "attn_decode") {
		files, err := filepath.Glob(filepath.Join(s.dir, s.paths.Cache, "predictions", "*", op+".csv.xz"))
		if err != nil || len(files) != 1 {
			return nil, fmt.Errorf("read Vidur's tables: %d of %s where one was expected", len(files), op)
		}
		if t.ops[op], err = readPredictions(files[0]); err != nil {
			return nil, fmt.Errorf("read Vidur's tables: %s: %w", op, err)
		}
	}
	return t, nil
}

// readPredictions reads a table: one or two keys and the milliseconds.
func readPredictions(path string) (map[[2]int]float64, error) {
	packed, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r, err := xz.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	out := map[[2]int]float64{}
	for n, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		cells := strings.Split(strings.TrimSpace(line), ",")
		if n == 0 {
			if last := cells[len(cells)-1]; last != "prediction" || len(cells) < 2 || len(cells) > 3 {
				return nil, fmt.Errorf("its columns are %q", line)
			}
			continue
		}
		var key [2]int
		for i, cell := range cells[:len(cells)-1] {
			if key[i], err = strconv.Atoi(cell); err != nil {
				return nil, fmt.Errorf("line %d: %w", n+1, err)
			}
		}
		if out[key], err = strconv.ParseFloat(cells[len(cells)-1], 64); err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	return out, nil
}

// chunkStep is the step of the prefill chunks in Vidur's tables, in tokens.
const chunkStep = 32

// lookup is where Vidur looks a step up: at its tokens rounded up to 8; decode
// attention at how many decode and their mean context, the token under way and
// the one after it included, rounded up to the grain; prefill attention at the
// context after the chunk, rounded likewise, and the chunk rounded up to 32. A
// chunk of one token is a decode. Attention is summed over the chunks.
type lookup struct {
	tokens   int
	decodes  int
	context  int      // of the decodes
	prefills [][2]int // context and chunk
}

func look(b *profile.Batch, grain int) lookup {
	at := lookup{tokens: roundUp(b.Tokens(), 8), decodes: b.Decodes, context: b.DecodeContext + 2*b.Decodes}
	for _, c := range b.Prefills {
		if c.Tokens == 1 {
			at.decodes, at.context = at.decodes+1, at.context+c.Context+1
			continue
		}
		at.prefills = append(at.prefills, [2]int{roundUp(c.Context+c.Tokens, grain), roundUp(c.Tokens, chunkStep)})
	}
	if at.decodes > 0 {
		at.context = roundUp(at.context/at.decodes, grain)
	}
	return at
}

// Step implements [profile.Model]: outside says that Vidur's tables do not
// reach to the step, at which Vidur itself would end with a KeyError.
func (t *Tables) Step(b *profile.Batch) (time.Duration, bool) {
	at, ms, outside := look(b, t.grain), 0.0, false
	add := func(op string, key [2]int, factor float64) {
		v, known := t.ops[op][key]
		ms, outside = ms+factor*v, outside || !known
	}
	for _, op := range perToken {
		add(op, [2]int{at.tokens}, 1)
	}
	for _, p := range at.prefills {
		add("attn_prefill", p, 1)
	}
	if at.decodes > 0 {
		factor := 1.0
		if at.decodes > 1 {
			factor += t.shared
		}
		add("attn_decode", [2]int{at.decodes, at.context}, factor)
	}
	return time.Duration(math.Round(ms * float64(t.layers) * float64(time.Millisecond))), outside
}

// Looked prices a step by a profile, where Vidur looks it up in the tables of
// its forests: what is left between the two is the forests' share.
type Looked struct {
	Dense, Attention profile.Model // of the same profile, without the other's part
	Grain            int           // step of the KV sizes
	Reach            int           // tokens up to which prefill attention was measured; beyond it a forest holds its value
}

// Step implements [profile.Model].
func (m Looked) Step(b *profile.Batch) (time.Duration, bool) {
	at := look(b, m.Grain)
	dense, far := m.Dense.Step(&profile.Batch{Decodes: at.tokens})
	attn := profile.Batch{Decodes: at.decodes, DecodeContext: at.context * at.decodes, MaxDecodeContext: at.context}
	for _, p := range at.prefills {
		last := (m.Reach/p[1] - 1) * p[1]
		attn.Prefills = append(attn.Prefills, profile.Chunk{Tokens: p[1], Context: max(0, min(last, p[0]))})
	}
	a, farther := m.Attention.Step(&attn)
	return dense + a, far || farther
}

var (
	_ profile.Model = (*Tables)(nil)
	_ profile.Model = Looked{}
)
