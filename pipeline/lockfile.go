package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"calrun/pipeline/canonical"
	"calrun/pipeline/store"

	"gopkg.in/yaml.v3"
)

// LockFile and PackFile are where the lock and the pack of a plan lie.
func LockFile(plan string) string { return stem(plan) + ".lock.yaml" }

// PackFile is where the pack of a plan lies.
func PackFile(plan string) string { return stem(plan) + ".pack" }

func stem(plan string) string {
	ext := filepath.Ext(plan)
	if ext == ".yaml" || ext == ".yml" {
		return strings.TrimSuffix(plan, ext)
	}
	return plan
}

const lockComment = `# An accepted run: what it was made of and what it found. Written by calrun
# accept, checked by calrun reproduce on this file; the last line is the digest
# of all lines before it.
`

// lockDigest is the last line of a lock.
var lockDigest = regexp.MustCompile(`^digest: (sha256:[0-9a-f]{64})\n$`)

// encode is the text of a lock: equal locks have equal text.
func (l *Lock) encode() ([]byte, error) {
	raw, err := canonical.Encode(l)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	node, err := yamlOf(dec, "")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(lockComment)
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(node), enc.Close()); err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, "digest: %s\n", store.Digest(b.Bytes()))
	return b.Bytes(), nil
}

// oneLine are the objects that stand on one line, by their field's name.
var oneLine = []string{"values", "shares", "history", "inputs", "pack", "accepted", "plan"}

// yamlOf turns JSON into YAML and keeps the order of fields and the text of
// numbers.
func yamlOf(dec *json.Decoder, field string) (*yaml.Node, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := tok.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.MappingNode}
		if t == '[' {
			n.Kind = yaml.SequenceNode
		} else if slices.Contains(oneLine, field) {
			n.Style = yaml.FlowStyle
		}
		for dec.More() {
			name := field
			if t == '{' {
				tok, err := dec.Token()
				if err != nil {
					return nil, err
				}
				name, _ = tok.(string)
				n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name})
			}
			v, err := yamlOf(dec, name)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, v)
		}
		_, err := dec.Token() // its end
		return n, err
	case json.Number:
		tag := "!!int"
		if strings.ContainsAny(t.String(), ".eE") {
			tag = "!!float"
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: t.String()}, nil
	case string:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: t}, nil
	}
	n := &yaml.Node{}
	return n, n.Encode(tok)
}

// jsonOf turns YAML into JSON values.
func jsonOf(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.DocumentNode:
		return jsonOf(n.Content[0])
	case yaml.SequenceNode:
		out := []any{}
		for _, e := range n.Content {
			v, err := jsonOf(e)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			v, err := jsonOf(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			out[n.Content[i].Value] = v
		}
		return out, nil
	case yaml.ScalarNode:
		if tag := n.ShortTag(); tag == "!!int" || tag == "!!float" {
			return json.Number(n.Value), nil
		} else if tag == "!!str" || tag == "!!timestamp" {
			return n.Value, nil
		}
		var v any
		err := n.Decode(&v)
		return v, err
	}
	return nil, fmt.Errorf("line %d: a lock has no aliases", n.Line)
}

// ReadLock reads a lock and checks its digest and its history. An error that
// is [ErrChanged] says that it is not as calrun wrote it.
func ReadLock(path string) (*Lock, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read lock: %w", err)
	}
	l, err := decodeLock(text)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return l, nil
}

func decodeLock(text []byte) (*Lock, error) {
	end := bytes.LastIndexByte(bytes.TrimSuffix(text, []byte("\n")), '\n') + 1
	m := lockDigest.FindSubmatch(text[end:])
	if m == nil {
		if bytes.Contains(text, []byte("\r\n")) {
			return nil, fmt.Errorf("its line ends were converted (git: core.autocrlf); mark it as -text in .gitattributes: %w", ErrChanged)
		}
		return nil, fmt.Errorf("its last line is no digest: %w", ErrChanged)
	}
	if got := store.Digest(text[:end]); got != string(m[1]) {
		return nil, fmt.Errorf("its lines have the digest %s, its last line states %s: %w", got, m[1], ErrChanged)
	}
	var node yaml.Node
	if err := yaml.Unmarshal(text[:end], &node); err != nil {
		return nil, err
	}
	tree, err := jsonOf(&node)
	if err != nil {
		return nil, err
	}
	raw, err := canonical.JSON(tree)
	if err != nil {
		return nil, err
	}
	l := &Lock{}
	if err := json.Unmarshal(raw, l); err != nil {
		return nil, err
	}
	if l.Version != LockVersion {
		return nil, fmt.Errorf("it is of the form %q, this calrun knows %s: use a newer calrun", l.Version, LockVersion)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&Lock{}); err != nil {
		return nil, err
	}
	if n := len(l.History); n == 0 || l.History[n-1].Run != l.Accepted.Run {
		return nil, fmt.Errorf("its history does not end with the accepted run %s: %w", l.Accepted.Run, ErrChanged)
	}
	return l, checkHistory(l.History)
}

// writeWhole writes a file that is either whole or not there.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".calrun-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	err = errors.Join(write(f), f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
