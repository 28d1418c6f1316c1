package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// add makes a line durable.
func add(j *Journal, line json.RawMessage) error {
	return errors.Join(j.Add(line), j.Flush(), j.Sync())
}

func writeJournal(t *testing.T, n int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	j, err := CreateJournal(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for i := range n {
		if err := add(j, json.RawMessage(fmt.Sprintf(`{"n":%d,"step":"a<b"}`, i))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestJournalSurvives(t *testing.T) {
	tests := []struct {
		name   string
		harm   func(data []byte) []byte
		events int    // that are left of 3
		refuse string // a piece of the error, or empty
	}{
		{"nothing happened", func(d []byte) []byte { return d }, 3, ""},
		{"a death in the middle of a write", func(d []byte) []byte { return d[:len(d)-10] }, 2, ""},
		{"a death after the text, before its end of line", func(d []byte) []byte { return d[:len(d)-1] }, 2, ""},
		{"a file system that wrote zeros", func(d []byte) []byte { return append(d, 0, 0, 0, '\n') }, 3, ""},
		{"a death in the first write", func(d []byte) []byte { return d[:5] }, 0, ""},
		{"a changed byte", func(d []byte) []byte { return bytes.Replace(d, []byte("a<b"), []byte("a<c"), 1) }, 0, "line 1 does not follow"},
		{"a changed last line", func(d []byte) []byte {
			i := bytes.LastIndex(d, []byte("a<b"))
			d[i] = 'x'
			return d
		}, 0, "line 3 does not follow"},
		{"a lost line", func(d []byte) []byte { return d[bytes.IndexByte(d, '\n')+1:] }, 0, "line 1 does not follow"},
		{"a broken middle", func(d []byte) []byte {
			i := bytes.IndexByte(d, '\n')
			return append(append(append([]byte{}, d[:i-9]...), '\n'), d[i+1:]...)
		}, 0, "line 1 is not JSON"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := writeJournal(t, 3)
			path := filepath.Join(dir, "journal")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tt.harm(data), 0o644); err != nil {
				t.Fatal(err)
			}
			j, events, err := OpenJournal(path)
			if tt.refuse != "" {
				if err == nil || !strings.Contains(err.Error(), tt.refuse) {
					t.Fatalf("got %v, want %q", err, tt.refuse)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(events) != tt.events {
				t.Fatalf("%d events, want %d", len(events), tt.events)
			}
			// What is appended now must follow from what is left.
			if err := add(j, json.RawMessage(`{"n":9}`)); err != nil {
				t.Fatal(err)
			}
			j.Close()
			_, events, err = OpenJournal(path)
			if err != nil || len(events) != tt.events+1 || string(events[tt.events]) != `{"n":9}` {
				t.Errorf("after the repair: %d events, %v", len(events), err)
			}
		})
	}
}

// A journal that is cut anywhere, in the middle of a character even, opens
// with a prefix of its events.
func TestJournalCutAnywhere(t *testing.T) {
	dir := writeJournal(t, 4)
	data, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range data {
		c, err := readChain("x", data[:n])
		if err != nil {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
		if want := strings.Count(string(data[:n]), "\n"); len(c.events) != want {
			t.Fatalf("cut after %d bytes: %d events, %d whole lines", n, len(c.events), want)
		}
	}
}

// A byte of a journal that is changed, whatever it is and becomes, is found.
// Only the end of the last line is what a death may leave too: there the last
// event is lost, and no other.
func TestEveryByteOfAJournalCounts(t *testing.T) {
	dir := writeJournal(t, 3)
	data, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndexByte(data[:len(data)-1], '\n') + 1
	for at := range data {
		for _, flip := range []byte{0x01, 0x20, 0x80} { // another digit, another case, no ASCII
			changed := bytes.Clone(data)
			changed[at] ^= flip
			c, err := readChain("x", changed)
			mayBeTorn := at >= last && bytes.IndexByte(changed[last:], 0) >= 0 || at == len(data)-1
			if err == nil && (!mayBeTorn || len(c.events) != 2) {
				t.Fatalf("byte %d (%q becomes %q): not found, %d events", at, data[at], changed[at], len(c.events))
			}
		}
	}
}
