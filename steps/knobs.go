package steps

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"calrun/internal/engine"
	"calrun/internal/fit"
	"calrun/pipeline"
)

// KnobRange says how far `tune` may turn a knob: [lo, hi], or
// {range: [lo, hi], free: true}.
type KnobRange struct {
	Lo, Hi float64
	Free   bool // turn it although the engine states its value
}

// knobObject is the long form.
type knobObject struct {
	Range []float64 `json:"range"`
	Free  bool      `json:"free"`
}

// JSONSchema is the schema of both forms.
func (KnobRange) JSONSchema() map[string]any {
	pair := map[string]any{
		"type": "array", "items": map[string]any{"type": "number"}, "minItems": 2, "maxItems": 2,
		"description": "lowest and highest value, both allowed",
	}
	return map[string]any{
		"description": "how far a knob may be turned: [lo, hi], or {range: [lo, hi], free: true} to turn one that the engine states",
		"anyOf": []any{pair, map[string]any{
			"type": "object", "additionalProperties": false, "required": []any{"range"},
			"properties": map[string]any{
				"range": pair,
				"free":  map[string]any{"type": "boolean", "description": "turn the knob although the engine states its value"},
			},
		}},
	}
}

// UnmarshalJSON reads either form.
func (k *KnobRange) UnmarshalJSON(data []byte) error {
	var o knobObject
	if err := json.Unmarshal(data, &o.Range); err != nil {
		dec := json.NewDecoder(strings.NewReader(string(data)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&o); err != nil {
			return fmt.Errorf("a knob's range is [lo, hi] or {range: [lo, hi], free: true}, not %s", data)
		}
	}
	if len(o.Range) != 2 {
		return fmt.Errorf("a knob's range has two numbers, the lowest and the highest value, not %d", len(o.Range))
	}
	k.Lo, k.Hi, k.Free = o.Range[0], o.Range[1], o.Free
	return nil
}

// MarshalJSON writes the short form where it says all.
func (k KnobRange) MarshalJSON() ([]byte, error) {
	pair := []float64{k.Lo, k.Hi}
	if !k.Free {
		return json.Marshal(pair)
	}
	return json.Marshal(knobObject{Range: pair, Free: true})
}

// knob is a numeric field of [Params], found by its name. The struct and its
// tags are the only list of knobs.
type knob struct {
	name    string
	index   int
	integer bool
	lo, hi  float64 // bounds that the tags set
}

// knobs lists the fields of Params that are numbers, in its order.
func knobs() []knob {
	var ks []knob
	t := reflect.TypeFor[Params]()
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Type.Kind() != reflect.Pointer {
			continue
		}
		k := knob{name: f.Tag.Get("yaml"), index: i, lo: math.Inf(-1), hi: math.Inf(1)}
		switch f.Type.Elem().Kind() {
		case reflect.Int:
			k.integer = true
		case reflect.Float64:
		default:
			continue
		}
		for tag, to := range map[string]*float64{"min": &k.lo, "max": &k.hi} {
			if v, err := strconv.ParseFloat(f.Tag.Get(tag), 64); err == nil {
				*to = v
			}
		}
		ks = append(ks, k)
	}
	return ks
}

func knobNames() []string {
	var names []string
	for _, k := range knobs() {
		names = append(names, k.name)
	}
	return names
}

func lookupKnob(name string) (knob, bool) {
	ks := knobs()
	i := slices.IndexFunc(ks, func(k knob) bool { return k.name == name })
	if i < 0 {
		return knob{}, false
	}
	return ks[i], true
}

// check says what is wrong with a range for this knob, nil if nothing is.
func (k knob) check(r KnobRange) error {
	switch {
	case r.Lo >= r.Hi:
		return fmt.Errorf("the range [%g, %g] leaves nothing to choose; the first number must be the smaller", r.Lo, r.Hi)
	case r.Lo < k.lo:
		return fmt.Errorf("%s cannot be below %g, and the range begins at %g", k.name, k.lo, r.Lo)
	case r.Hi > k.hi:
		return fmt.Errorf("%s cannot be above %g, and the range ends at %g", k.name, k.hi, r.Hi)
	case k.integer && (r.Lo != math.Trunc(r.Lo) || r.Hi != math.Trunc(r.Hi)):
		return fmt.Errorf("%s is a whole number; so are the ends of its range, and [%g, %g] is not", k.name, r.Lo, r.Hi)
	}
	return nil
}

// strange says that Vidur has no place for the knob.
func (k knob) strange(field string) []pipeline.FieldProblem {
	var p Params
	k.put(&p, 1)
	ps := strangeToVidur(p)
	for i := range ps {
		ps[i].Field = field
	}
	return ps
}

// of is the knob's value in p; ok is false where p leaves it open.
func (k knob) of(p Params) (v float64, ok bool) {
	f := reflect.ValueOf(p).Field(k.index)
	if f.IsNil() {
		return 0, false
	}
	if k.integer {
		return float64(f.Elem().Int()), true
	}
	return f.Elem().Float(), true
}

// put sets the knob in p, with memory of its own.
func (k knob) put(p *Params, v float64) {
	f := reflect.ValueOf(p).Elem().Field(k.index)
	if k.integer {
		n := int(math.Round(v))
		f.Set(reflect.ValueOf(&n))
		return
	}
	f.Set(reflect.ValueOf(&v))
}

// idleValue is where the knob stands when nothing sets it: no time added, a
// factor of 1; a limit that nobody set does not bind, which is the range's
// upper end.
func (k knob) idleValue(hi float64) float64 {
	switch {
	case k.integer:
		return hi
	case k.factor():
		return 1
	}
	return 0
}

// turn is the knob as a fit turns it. What one would believe without having
// measured (it weighs as little as package fit says, and so only decides where
// the points do not): a factor on kernels is within two of where it stood, a
// time added is anywhere in its range. Limits that count are not believed
// anything of.
func (k knob) turn(r KnobRange, start float64) fit.Knob {
	f := fit.Knob{Name: k.name, Lo: r.Lo, Hi: r.Hi, Start: start, Integer: k.integer}
	switch {
	case k.integer:
	case k.factor():
		f.Spread, f.Factor = math.Ln2, true
	default:
		f.Spread = r.Hi - r.Lo
	}
	return f
}

// factor says that the knob multiplies.
func (k knob) factor() bool { return strings.HasPrefix(k.name, "k_") }

// over is p with the values of a fit laid on top. p itself stays as it is.
func over(p Params, values fit.Params) (Params, error) {
	for _, v := range values {
		k, ok := lookupKnob(v.Name)
		if !ok {
			return p, fmt.Errorf("%s is no knob; there are %s", v.Name, strings.Join(knobNames(), ", "))
		}
		k.put(&p, v.Value)
	}
	return p, nil
}

// engineStates is what the engine says of a knob, nil if it says nothing.
func engineStates(name string, f engine.Facts) *int {
	switch name {
	case "batch_size_cap":
		return f.MaxNumSeqs
	case "chunk_size":
		return f.MaxTokens
	case "kv_blocks":
		return f.KVBlocks
	}
	return nil
}

var (
	_ json.Unmarshaler = (*KnobRange)(nil)
	_ json.Marshaler   = KnobRange{}
)
