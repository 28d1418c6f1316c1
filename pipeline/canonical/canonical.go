// Package canonical reads and writes JSON so that equal values have equal
// bytes: [JSON] is the form that digests are taken of, [Encode] the one that
// files are written in. [Decode] keeps numbers as they are written.
package canonical

import (
	"bytes"
	"encoding/json"
)

// JSON is the JSON text of v with sorted keys, without spaces and without
// HTML escapes: equal values have equal bytes. Numbers keep the text they have.
func JSON(v any) (json.RawMessage, error) {
	raw, ok := v.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = Encode(v); err != nil {
			return nil, err
		}
	}
	tree, err := Decode(raw)
	if err != nil {
		return nil, err
	}
	return Encode(tree)
}

// Encode is the JSON text of v without HTML escapes: expressions stay readable.
func Encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// Decode decodes JSON and keeps the text of its numbers.
func Decode(raw json.RawMessage) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}

// DecodeFloats decodes JSON as expressions see it: every number is a float64.
func DecodeFloats(raw json.RawMessage) (v any, err error) {
	err = json.Unmarshal(raw, &v)
	return v, err
}
